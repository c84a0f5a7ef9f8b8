/** The passes that prepare a model, in order. */
import { checkAbort, type Context, type Note } from '../core/index.js';
import { type Model } from '../onnx/index.js';
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
import { inferTypes } from './rules/infer-types.js';
import { matMulAddToGemm } from './rules/matmul-add-to-gemm.js';
import { prune } from './rules/prune.js';
import { removeNoOps } from './rules/remove-no-ops.js';
import { uniqueNames } from './rules/unique-names.js';
import { unshareInitializers } from './rules/unshare-initializers.js';

/** What `prepare` runs, again and again until no pass finds anything to do. */
export const PASSES: readonly Pass[] = [
  uniqueNames,
  freezeInitializers,
  constantsToInitializers,
  inferTypes,
  removeNoOps,
  foldShapes,
  foldConstants,
  fuse(layerNormalization),
  fuse(gelu),
  fuse(hardSwish),
  foldAffineMaps,
  foldScalarBefore,
  batchNormToConv,
  matMulAddToGemm,
  unshareInitializers,
  prune,
];

export interface Prepared {
  readonly model: Model;
  readonly notes: readonly Note[];
  /** How often each pass fired, in the order of {@link PASSES}. */
  readonly applied: readonly { readonly pass: string; readonly count: number }[];
}

/** Enough for any model: a round enables the next only where one rewrite makes room for another. */
const MAX_ROUNDS = 20;

/**
 * Rewrites a model into the form the other steps work on: constants as initializers, names unique across subgraphs,
 * types of all values noted, normalizations and biases folded into the layers.
 */
export async function prepare(
  model: Model,
  ctx: Context,
  passes: readonly Pass[] = PASSES,
): Promise<Prepared> {
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
