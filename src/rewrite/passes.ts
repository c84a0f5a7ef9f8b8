/** The passes that prepare a model, in order. */
import { FxqError, didYouMean, type Context } from '../core/index.js';
import { type Model, type TensorType } from '../onnx/index.js';
import { fuse } from './fusion.js';
import { type Pass } from './pass.js';
import { batchNormToConv } from './rules/batchnorm-to-conv.js';
import { constantsToInitializers } from './rules/constants-to-initializers.js';
import { foldAffineMaps } from './rules/fold-affine.js';
import { foldConstants } from './rules/fold-constants.js';
import { foldScalarBefore } from './rules/fold-scalar-before.js';
import { foldShapes } from './rules/fold-shapes.js';
import { freezeInitializers } from './rules/freeze-initializers.js';
import { gelu } from './rules/fuse-gelu.js';
import { hardSwish } from './rules/fuse-hard-swish.js';
import { layerNormalization } from './rules/fuse-layer-normalization.js';
import { inferTypes, notedTypes } from './rules/infer-types.js';
import { matMulAddToGemm } from './rules/matmul-add-to-gemm.js';
import { prune } from './rules/prune.js';
import { removeNoOps } from './rules/remove-no-ops.js';
import { uniqueNames } from './rules/unique-names.js';
import { unshareInitializers } from './rules/unshare-initializers.js';
import { runPasses, type Rewritten } from './run-passes.js';

/** Fusions raise the opset no further than formats of 4 and 16 bits do anyway. */
const FUSION_OPSET = 21;

/** What `prepare` runs, in this order, again and again until no pass finds anything to do. */
export const PASSES: readonly Pass[] = [
  uniqueNames,
  freezeInitializers,
  constantsToInitializers,
  inferTypes,
  removeNoOps,
  foldShapes,
  foldConstants,
  fuse(layerNormalization, FUSION_OPSET),
  fuse(gelu, FUSION_OPSET),
  fuse(hardSwish, FUSION_OPSET),
  foldAffineMaps,
  foldScalarBefore,
  batchNormToConv,
  matMulAddToGemm,
  unshareInitializers,
  prune,
];

/**
 * Passes that run only when asked for. onnxruntime has no integer kernel for HardSwish, but one for each node that spells
 * it out: fused, int8 PP-OCR takes 12 % longer and is no more accurate. Other executors may have one.
 */
const ON_REQUEST: ReadonlySet<string> = new Set([hardSwish.name]);

export interface PrepareOptions {
  /** Switches passes on and off by name. */
  readonly passes?: Readonly<Record<string, boolean>>;
}

export interface Prepared extends Rewritten {
  /** Element type and shape of every value, subgraphs included. */
  readonly types: ReadonlyMap<string, TensorType>;
}

/**
 * Rewrites a model into the form the other steps work on: constants as initializers, names unique across subgraphs,
 * types of all values noted, normalizations and biases folded into the layers.
 *
 * @throws FxqError E_CONFIG when an option names no pass, E_RUNTIME when onnxruntime refuses the model
 */
export async function prepare(model: Model, ctx: Context, options: PrepareOptions = {}): Promise<Prepared> {
  const rewritten = await runPasses(model, choosePasses(options.passes ?? {}), ctx);
  return { ...rewritten, types: notedTypes(rewritten.model) };
}

function choosePasses(switches: Readonly<Record<string, boolean>>): readonly Pass[] {
  const names = PASSES.map((pass) => pass.name);
  for (const name of Object.keys(switches)) {
    if (names.includes(name)) continue;
    throw new FxqError('E_CONFIG', `there is no prepare pass '${name}'`, [
      didYouMean(name, names),
      `Passes: ${names.join(', ')}.`,
    ]);
  }
  return PASSES.filter(({ name }) => switches[name] ?? !ON_REQUEST.has(name));
}
