/** Progress on stderr: a spinner with count and time left on a terminal, plain lines elsewhere, nothing when quiet. */
import type { Ora, Options } from 'ora';
import { type Progress } from '../core/index.js';

export interface ProgressOptions {
  /** `ora` on a terminal; absent where lines are wanted. */
  readonly spinner?: (options: Options) => Ora;
  readonly write: (line: string) => void;
  /** Milliseconds since any fixed moment. */
  readonly clock: () => number;
}

export type StartProgress = (title: string, total?: number) => Progress;

/** Progress nobody sees. */
export const silentProgress: StartProgress = () => ({ update: () => undefined, finish: () => undefined });

/** The way progress is shown: a spinner when one is given, lines otherwise. */
export function createProgress(options: ProgressOptions): StartProgress {
  const { spinner } = options;
  return spinner === undefined ? lines(options) : spinning(spinner, options.clock);
}

function spinning(create: (options: Options) => Ora, clock: () => number): StartProgress {
  return (title, total) => {
    const start = clock();
    // discardStdin would put the terminal into raw mode, where long synchronous work delays Ctrl-C.
    const spinner = create({ text: title, discardStdin: false, stream: process.stderr }).start();
    return {
      update: (done, detail) => {
        spinner.text = [title, count(done, total), timeLeft(done, total, clock() - start), detail]
          .filter((part) => part !== undefined && part !== '')
          .join(', ');
      },
      finish: (text) => {
        spinner.succeed(`${text ?? title} ${seconds(clock() - start)}`);
      },
    };
  };
}

/** Lines at the start, at every further tenth (no more than one in two seconds), after 30 s of silence, at the end. */
const LINE_GAP = 2_000;
const SILENCE = 30_000;

function lines({ write, clock }: ProgressOptions): StartProgress {
  return (title, total) => {
    const start = clock();
    let last = start;
    let tenth = 0;
    write(`${title} …`);
    return {
      update: (done, detail) => {
        const now = clock();
        const reached = total === undefined || total === 0 ? 0 : Math.floor((10 * done) / total);
        const due = (reached > tenth && now - last >= LINE_GAP) || now - last >= SILENCE;
        if (!due) return;
        tenth = reached;
        last = now;
        const parts = [count(done, total), timeLeft(done, total, now - start), detail];
        write(`${title}: ${parts.filter((part) => part !== undefined && part !== '').join(', ')}`);
      },
      finish: (text) => write(`${text ?? title}: done in ${seconds(clock() - start)}`),
    };
  };
}

function count(done: number, total: number | undefined): string {
  return total === undefined || total === 0
    ? `${done}`
    : `${done}/${total} (${Math.floor((100 * done) / total)} %)`;
}

/** From the mean time of a step so far; nothing in the first second, where it would be a guess. */
function timeLeft(done: number, total: number | undefined, elapsed: number): string {
  if (total === undefined || done <= 0 || done >= total || elapsed < 1000) return '';
  return `${seconds((elapsed / done) * (total - done))} left`;
}

function seconds(milliseconds: number): string {
  if (milliseconds < 10_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  const total = Math.round(milliseconds / 1000);
  return total < 90 ? `${total} s` : `${Math.floor(total / 60)} min ${total % 60} s`;
}
