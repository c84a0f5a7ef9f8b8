/** Weights of the rows of X in a layer's moments: how much the network's output cares about an error there. */
import { checkAbort, FxqError, required, type Context } from '../../core/index.js';
import { type Batch } from '../../engine/index.js';
import { type Model } from '../../onnx/index.js';
import { tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { type WeightedLayer } from '../layers.js';
import { readBatches } from '../moments/batches.js';
import { type LayerData, type MomentsOptions } from '../moments/collect.js';
import { outputAxis, type RowWeights } from '../moments/patches.js';
import { drawDirections, floatOutputs, openBackward, shapeOf } from './backward.js';

export interface RowWeightOptions {
  /** Added to weights of mean 1, so that no row is lost. */
  readonly floor: number;
  /** Draws of a direction; the mean of their squared gradients counts. */
  readonly draws: number;
}

const ROW_WEIGHTS: RowWeightOptions = { floor: 0.1, draws: 4 };

/** Numbers that all weights together may take. */
const MOST = 2 ** 28;

/**
 * With g the gradient of the output's loss by a layer's output, an error e of that output costs about Σ (g·e)². Taking
 * the channels of one position alike, that is mean(g²)·‖e‖², a weight for the position's row (a block-diagonal Fisher
 * matrix, as in BRECQ, arXiv 2102.05426, and GuidedQuant, arXiv 2505.07004). Weights have the mean 1 over the batches
 * codes are fitted to.
 *
 * @throws FxqError E_UNSUPPORTED where there is no gradient rule, or the weights would take too much memory
 */
export async function rowWeights(
  model: Model,
  layers: readonly WeightedLayer[],
  { batches, fitBatches }: { readonly batches: readonly Batch[]; readonly fitBatches: number },
  { floor, draws }: RowWeightOptions,
  ctx: Context,
): Promise<RowWeights> {
  const names = [...new Set(layers.map((l) => l.output))];
  const axes = new Map(layers.map((l) => [l.output, outputAxis(l)] as const));
  const references = await floatOutputs(model, batches, ctx);
  const rng = ctx.rng.fork('row weights');
  const squares = new Map<string, Tensor[]>(names.map((name) => [name, []]));
  const programs = new Map<string, Awaited<ReturnType<typeof openBackward>>>();
  const progress = ctx.start(`Measuring importance for ${layers.length} layers`, batches.length);
  try {
    for (const [b, batch] of batches.entries()) {
      checkAbort(ctx);
      const reference = required(references[b], 'outputs');
      const program =
        programs.get(shapeOf(batch)) ??
        (await openBackward(model, names, batch, reference, (p, g, i) =>
          p.reduceMean(p.square(g), [required(axes.get(names[i] ?? ''), 'an axis')], true),
        ));
      programs.set(shapeOf(batch), program);
      for (let draw = 0; draw < draws; draw++) {
        const directions = drawDirections(reference, rng);
        const found = await program.run({ ...Object.fromEntries(batch.inputs), ...directions });
        names.forEach((name, i) => {
          const all = required(squares.get(name), name);
          all[b] = plus(all[b], required(found[i], name));
        });
      }
      if (b === 0) checkMemory(squares, batches.length);
      progress.update(b + 1);
    }
  } finally {
    for (const program of programs.values()) await program.release();
  }
  progress.finish();
  return new Map(
    layers.map(({ node, output }) => [
      node.name,
      normalized(required(squares.get(output), output), fitBatches, floor),
    ]),
  );
}

/**
 * The same for the batches that collecting moments with these options makes.
 *
 * @throws FxqError E_UNSUPPORTED for recurrent inputs
 */
export async function measureRowWeights(
  model: Model,
  layers: readonly WeightedLayer[],
  data: LayerData,
  options: Pick<MomentsOptions, 'batch' | 'samples'>,
  ctx: Context,
): Promise<RowWeights> {
  if (data.carry.size > 0)
    throw new FxqError(
      'E_UNSUPPORTED',
      `importance needs gradients, and there are none through the recurrent input ${[...data.carry.keys()].join()}`,
      'Leave out --importance.',
    );
  return rowWeights(model, layers, await readBatches(data, options), ROW_WEIGHTS, ctx);
}

function plus(sum: Tensor | undefined, part: Tensor): Tensor {
  if (sum === undefined) return part;
  const values = toFloat32(part);
  return tensor(
    'float32',
    sum.dims,
    toFloat32(sum).map((v, i) => v + (values[i] as number)),
  );
}

function checkMemory(squares: ReadonlyMap<string, readonly Tensor[]>, batches: number): void {
  const first = [...squares.values()].reduce((sum, [t]) => sum + (t?.data.length ?? 0), 0);
  if (first * batches <= MOST) return;
  throw new FxqError(
    'E_UNSUPPORTED',
    `importance needs a weight for every position of every layer, here ${first * batches} numbers`,
    'Give fewer samples (--samples), or leave out --importance.',
  );
}

/** √((w/mean + floor) / (1 + floor)). */
function normalized(squares: readonly Tensor[], fitBatches: number, floor: number): Tensor[] {
  let [sum, count] = [0, 0];
  for (const t of squares.slice(0, fitBatches)) {
    const values = toFloat32(t);
    for (let i = 0; i < values.length; i++) sum += values[i] as number;
    count += values.length;
  }
  // A layer the output does not react to has all its rows alike.
  const scale = sum > 0 ? count / sum : 0;
  return squares.map((t) =>
    tensor(
      'float32',
      t.dims,
      toFloat32(t).map((v) => (scale === 0 ? 1 : Math.sqrt((v * scale + floor) / (1 + floor)))),
    ),
  );
}
