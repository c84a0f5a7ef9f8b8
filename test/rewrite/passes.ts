/** Running one pass as `prepare` does: on a model whose value types are known. */
import { createContext } from '../../src/core/index.js';
import { type Model } from '../../src/onnx/index.js';
import { type Pass, type PassResult } from '../../src/rewrite/index.js';
import { inferTypes } from '../../src/rewrite/rules/infer-types.js';

export async function run(pass: Pass, model: Model): Promise<PassResult> {
  const ctx = createContext({ threads: 1 });
  const typed = await inferTypes.run(model, ctx);
  return await pass.run(typed.model, ctx);
}

/** The rewrite of one pass, for `expectRewrite`. */
export function applying(pass: Pass): (model: Model) => Promise<Model> {
  return async (model) => (await run(pass, model)).model;
}

/** What a pass says about the matches it leaves alone; fails when it rewrote something. */
export async function refusals(pass: Pass, model: Model): Promise<string[]> {
  const { changed, notes } = await run(pass, model);
  if (changed !== 0) throw new Error(`${pass.name} fired ${changed} times`);
  return notes.map((note) => note.message);
}
