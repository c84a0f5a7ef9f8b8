/** Running passes until none of them finds anything to do. */
import { checkAbort, type Context, type Note } from '../core/index.js';
import { type Model } from '../onnx/index.js';
import { type Pass } from './pass.js';

export interface Rewritten {
  readonly model: Model;
  /** Warnings of all rounds, and what the last round says: the matches that are left alone for good. */
  readonly notes: readonly Note[];
  /** How often each pass fired, in order; passes that did not are left out. */
  readonly applied: readonly { readonly pass: string; readonly count: number }[];
}

/** Enough for any model: a round enables the next only where one rewrite makes room for another. */
const MAX_ROUNDS = 20;

/** Applies the passes in order, again and again until a whole round changes nothing. */
export async function runPasses(model: Model, passes: readonly Pass[], ctx: Context): Promise<Rewritten> {
  const counts = new Map(passes.map((pass) => [pass.name, 0]));
  const warnings: Note[] = [];
  let last: Note[] = [];
  let changed = 1;
  for (let round = 0; changed > 0 && round < MAX_ROUNDS; round++) {
    changed = 0;
    last = [];
    for (const pass of passes) {
      checkAbort(ctx);
      const result = await pass.run(model, ctx);
      model = result.model;
      changed += result.changed;
      counts.set(pass.name, (counts.get(pass.name) ?? 0) + result.changed);
      for (const note of result.notes) (note.level === 'warn' ? warnings : last).push(note);
    }
  }
  const applied = [...counts].filter(([, count]) => count > 0).map(([pass, count]) => ({ pass, count }));
  return { model, notes: [...warnings, ...last], applied };
}
