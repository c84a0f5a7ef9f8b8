/** SIGINT and SIGTERM: the first asks the run to stop at its next step, the second ends the process at once. */
import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

export interface Interrupt {
  readonly signal: AbortSignal;
  /** Exit status by convention, 128 and the number of the signal; undefined while nothing has arrived. */
  exitCode(): number | undefined;
  /** Takes the handlers off again. */
  dispose(): void;
}

/** Listens for signals of the process. Files are written whole or not at all, so that stopping leaves nothing half done. */
export function listenForInterrupt(target: NodeJS.Process, say: (message: string) => void): Interrupt {
  const controller = new AbortController();
  let code: number | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    const status = 128 + constants.signals[name];
    if (code !== undefined) target.exit(status);
    code = status;
    say('interrupted: stopping after the current step; once more to stop at once');
    controller.abort();
  };
  for (const name of SIGNALS) target.on(name, onSignal);
  return {
    signal: controller.signal,
    exitCode: () => code,
    dispose: () => {
      for (const name of SIGNALS) target.off(name, onSignal);
    },
  };
}
