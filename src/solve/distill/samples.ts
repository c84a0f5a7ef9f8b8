/** Calibration samples in memory, put together into batches of any samples. */
import { FxqError, checkAbort, required, type Context } from '../../core/index.js';
import { createArray, tensor, toFloat32, type Tensor, type TypedArray } from '../../tensor/index.js';
import { fitSamples, MOMENTS_DEFAULTS, type LayerData } from '../moments/collect.js';

/** What one run of the network is fed with. */
export type Feeds = ReadonlyMap<string, Tensor>;

export interface SamplePool {
  /** Samples to learn from come first, those kept apart last. */
  readonly fit: number;
  readonly samples: number;
  /** Samples of one batch: what the model or the data allow of the wanted number. */
  readonly batch: number;
  /** A batch of given samples. */
  take(samples: readonly number[]): Feeds;
  /** A batch of mixtures, one of each sample with its partner. */
  mix(samples: readonly number[], partners: readonly Partner[]): Feeds;
}

/** What a sample is mixed with: (1 − share) · own + share · partner. */
export interface Partner {
  readonly sample: number;
  readonly share: number;
}

/**
 * Reads samples until a limit of memory.
 *
 * @throws FxqError E_UNSUPPORTED for recurrent inputs, E_DATA for samples of different shapes or too few of them
 */
export async function readSamples(
  data: LayerData,
  wanted: number,
  memory: number,
  ctx: Context,
): Promise<SamplePool> {
  if (data.carry.size > 0)
    throw new FxqError(
      'E_UNSUPPORTED',
      'distillation sees samples in any order, but the inputs of this model continue those of the run before',
      'Leave --distill out.',
    );
  const units: Feeds[] = [];
  let size = 1;
  let bytes = 0;
  for await (const { inputs, count } of data.batches(1)) {
    checkAbort(ctx);
    size = Math.max(size, count);
    if (count < size) break;
    units.push(inputs);
    bytes += [...inputs.values()].reduce((sum, t) => sum + t.data.byteLength, 0);
    if (bytes > memory) break;
  }
  if (bytes > memory)
    ctx.note({
      level: 'info',
      code: 'distill-samples',
      message: `distillation uses ${units.length * size} of ${data.samples} samples: more do not fit into ${memory / 2 ** 20} MB`,
    });
  requireOneShape(units);
  const fit = fitSamples(units.length, MOMENTS_DEFAULTS.heldOut);
  if (units.length - fit < 2)
    throw new FxqError(
      'E_DATA',
      `${units.length} samples are too few to learn from some, choose by others and confirm by others again`,
      'Give at least 10 samples, better some hundreds.',
    );
  // A model of a fixed batch size is fed one of its batches at a time.
  const axes = size > 1 ? undefined : await sampleAxes(data);
  const batch = axes === undefined ? 1 : Math.max(1, Math.min(wanted, fit, units.length - fit));
  const unit = (i: number): Feeds => required(units[i], `sample ${i}`);
  const joined = (chosen: readonly Feeds[]): Feeds => {
    const [first] = chosen;
    if (axes === undefined || chosen.length === 1) return required(first, 'a sample');
    return new Map(
      [...axes].map(([name, axis]) => {
        const tensors = chosen.map((feeds) => required(feeds.get(name), name));
        return [name, axis === undefined ? required(tensors[0], name) : concatenate(tensors, axis)];
      }),
    );
  };
  // Only where every input is a real number is a mixture of two samples an input at all.
  const isReal = [...unit(0).values()].every(({ dtype }) => dtype === 'float32');
  const mixture = (sample: number, { sample: other, share }: Partner): Feeds =>
    isReal && share > 0 ? mixed(unit(sample), unit(other), share) : unit(sample);
  return {
    fit,
    samples: units.length,
    batch,
    take: (samples) => joined(samples.map(unit)),
    mix: (samples, partners) =>
      joined(samples.map((sample, i) => mixture(sample, required(partners[i], 'a partner')))),
  };
}

function mixed(own: Feeds, other: Feeds, share: number): Feeds {
  return new Map(
    [...own].map(([name, t]) => {
      const second = toFloat32(required(other.get(name), name));
      const data = toFloat32(t).map((x, i) => (1 - share) * x + share * (second[i] as number));
      return [name, tensor('float32', t.dims, data)];
    }),
  );
}

/** The axis of every input along which samples are stacked; undefined for one that all samples share. */
async function sampleAxes(data: LayerData): Promise<Map<string, number | undefined> | undefined> {
  for await (const { inputs, count } of data.batches(2, 0, 2)) {
    if (count < 2) return undefined;
    for await (const single of data.batches(1, 0, 1)) {
      return new Map(
        [...inputs].map(([name, { dims }]) => {
          const own = required(single.inputs.get(name), name).dims;
          const axis = dims.findIndex((d, i) => d !== own[i]);
          return [name, axis < 0 ? undefined : axis];
        }),
      );
    }
  }
  return undefined;
}

function requireOneShape(units: readonly Feeds[]): void {
  const shapeOf = (unit: Feeds): string => [...unit.values()].map((t) => t.dims.join('×')).join();
  const [first] = units;
  const other = units.find((unit) => first !== undefined && shapeOf(unit) !== shapeOf(first));
  if (first === undefined || other === undefined) return;
  throw new FxqError(
    'E_DATA',
    `distillation needs samples of one shape, these have ${shapeOf(first)} and ${shapeOf(other)}`,
    'Bring the samples to one size, or leave --distill out.',
  );
}

/** Tensors joined along one axis. */
export function concatenate(tensors: readonly Tensor[], axis: number): Tensor {
  const first = required(tensors[0], 'a tensor');
  const { dtype, dims } = first;
  const outer = dims.slice(0, axis).reduce((product, d) => product * d, 1);
  const chunks = tensors.map((t) => t.data.length / outer);
  const total = chunks.reduce((a, b) => a + b, 0);
  const data = createArray(dtype, outer * total);
  const copy = data as Float32Array;
  for (let o = 0, at = 0; o < outer; o++)
    tensors.forEach((t, i) => {
      const chunk = chunks[i] as number;
      copy.set((t.data as Float32Array).subarray(o * chunk, (o + 1) * chunk), at);
      at += chunk;
    });
  const length = tensors.reduce((sum, t) => sum + (t.dims[axis] as number), 0);
  return { dtype, dims: dims.map((d, i) => (i === axis ? length : d)), data: data as TypedArray };
}
