/** From a model file to the prepared model that plans are made for. */
import { type Context, type Note } from '../core/index.js';
import { inferValueTypes } from '../engine/index.js';
import { readModel, type Model } from '../onnx/index.js';
import { type ValueTypes } from '../plan/index.js';
import { raiseOpset, prepare } from '../rewrite/index.js';

export interface LoadedModel {
  /** As read. */
  readonly source: Model;
  /** Rewritten for quantization, at the opset asked for or a higher one. */
  readonly model: Model;
  readonly types: ValueTypes;
  readonly notes: readonly Note[];
  /** How often each pass fired. */
  readonly applied: readonly { readonly pass: string; readonly count: number }[];
}

/** Per-channel QuantizeLinear exists since opset 13. */
export const LEAST_OPSET = 13;

/**
 * Reads and prepares a model.
 *
 * @param opset least opset of the result
 * @throws FxqError for files, versions and graphs that cannot be used; each names the culprit
 */
export async function loadModel(path: string, opset: number, ctx: Context): Promise<LoadedModel> {
  const source = readModel(path);
  const progress = ctx.start('Preparing the model');
  const raised = await raiseOpset(source, opset);
  const prepared = await prepare(raised.model, ctx);
  const types = await inferValueTypes(prepared.model);
  const passes = prepared.applied.reduce((sum, { count }) => sum + count, 0);
  progress.finish(`Prepared ${prepared.model.graph.nodes.length} nodes (${passes} rewrites)`);
  return {
    source,
    model: prepared.model,
    types,
    notes: [...raised.notes, ...prepared.notes],
    applied: prepared.applied,
  };
}
