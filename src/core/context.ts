/** What a step may know of the outside: progress, notes, abort, seed. No module below `commands/` reaches further. */
import { FxqError } from './errors.js';
import { createRng, type Rng } from './rng.js';

export type NoteLevel = 'info' | 'warn';

/** Something the user should know that is not an error. `code` is stable, so that it can be filtered. */
export interface Note {
  readonly level: NoteLevel;
  readonly code: string;
  readonly message: string;
}

/** One running task with a known or unknown number of steps. */
export interface Progress {
  /** Reports `done` of the total given at the start. */
  update(done: number, detail?: string): void;
  /** Ends the task; the text replaces the title on its last line. */
  finish(text?: string): void;
}

export interface Context {
  readonly rng: Rng;
  readonly seed: number;
  /** Number of threads the runtime may use; results never depend on it. */
  readonly threads: number;
  readonly signal: AbortSignal;
  start(title: string, total?: number): Progress;
  note(note: Note): void;
}

const SILENT: Progress = { update: () => undefined, finish: () => undefined };

/** A context without terminal: notes are collected, progress is dropped. Used by the API and by tests. */
export function createContext(options: Partial<Context> = {}): Context & { readonly notes: readonly Note[] } {
  const notes: Note[] = [];
  const seed = options.seed ?? 0;
  return {
    seed,
    rng: options.rng ?? createRng(seed),
    threads: options.threads ?? 0,
    signal: options.signal ?? new AbortController().signal,
    start: options.start ?? (() => SILENT),
    note: options.note ?? ((note) => void notes.push(note)),
    notes,
  };
}

/** Throws when the run was interrupted; call between steps of long work. */
export function checkAbort(ctx: Pick<Context, 'signal'>): void {
  if (ctx.signal.aborted)
    throw new FxqError('E_INTERRUPTED', 'interrupted', 'Run the same command again to continue.');
}
