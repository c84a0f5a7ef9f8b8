/** The error of a block's output as a function of its binary points: programs that are compiled once and run often. */
import { required } from '../../core/index.js';
import { createProgram, gradients, openProgram, type Program, type Value } from '../../program/index.js';
import { tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { type Block } from './blocks.js';
import { type PointObjective, type PointVector } from './descend.js';
import { quantizedBlock, type PointValues, type SliceScope } from './slice.js';

/** A block with samples and what the float model makes of them. */
export interface BlockSamples {
  /** By input of the block, one tensor a batch. */
  readonly inputs: ReadonlyMap<string, readonly Tensor[]>;
  /** In the order of the block's outputs, one tensor a batch. */
  readonly targets: readonly (readonly Tensor[])[];
}

/** Binary points by key. */
export type PointArrays = ReadonlyMap<string, Float32Array>;

/** Sums over samples are split between threads and would differ in their last bits: one thread. */
const ONE_THREAD = { threads: 1 } as const;

/** An objective that holds sessions. */
export interface BlockObjective extends PointObjective {
  release(): Promise<void>;
}

/**
 * Mean over batches and outputs of the squared error relative to the output's mean square.
 *
 * @param keys  points that move, in the order of the vectors
 * @param fixed the other points of the block
 */
export async function openObjective(
  block: Block,
  scope: SliceScope,
  samples: BlockSamples,
  keys: readonly string[],
  fixed: PointArrays,
): Promise<BlockObjective> {
  const sizes = keys.map((key) => required(scope.points.get(key), key).start.length);
  const build = (withSlope: boolean) => {
    const p = createProgram();
    const moving = Object.fromEntries(
      keys.map((key, i) => [key, p.input(`point ${i}`, 'float32', [required(sizes[i], key)])]),
    );
    const { loss, feeds } = lossOf(p, block, scope, samples, { ...constants(p, fixed), ...moving });
    const slope = withSlope ? gradients(p, loss, moving) : {};
    return { p, feeds, outputs: { loss, slope } };
  };
  const open = async (withSlope: boolean) => {
    const { p, feeds, outputs } = build(withSlope);
    type Results = { loss: Tensor; slope: Record<string, Tensor> };
    const program = await openProgram<typeof outputs, Results>(p, outputs, ONE_THREAD);
    return {
      release: () => program.release(),
      run: (points: PointVector) => program.run({ ...feeds, ...pointFeeds(points, sizes) }),
    };
  };
  const plain = await open(false);
  // Not every block has derivatives, and not every descent asks for them.
  let sloped: typeof plain | undefined;
  const known = new Map<string, number>();
  return {
    loss: async (points) => {
      const key = points.join();
      const loss = known.get(key) ?? scalar((await plain.run(points)).loss);
      known.set(key, loss);
      return loss;
    },
    slope: async (points) => {
      sloped ??= await open(true);
      const { loss, slope } = await sloped.run(points);
      const all = keys.flatMap((key) => Array.from(toFloat32(required(slope[key], key))));
      known.set(points.join(), scalar(loss));
      return { loss: scalar(loss), slope: all };
    },
    release: async () => {
      await Promise.all([plain.release(), sloped?.release()]);
    },
  };
}

/** What leaves a block at given points, by output, one tensor a batch. */
export async function runBlock(
  block: Block,
  scope: SliceScope,
  samples: BlockSamples,
  points: PointArrays,
): Promise<Tensor[][]> {
  const p = createProgram();
  const { feeds, batches } = declareSamples(p, samples);
  const values = constants(p, points);
  const named = Object.fromEntries(
    batches.flatMap(({ inputs }, b) =>
      quantizedBlock(p, block, scope, inputs, values).map((v, o) => [`${b} ${o}`, v] as const),
    ),
  );
  const program = await openProgram<Record<string, Value>, Record<string, Tensor>>(p, named, ONE_THREAD);
  try {
    const results = await program.run(feeds);
    return block.outputs.map((name, o) => batches.map((_, b) => required(results[`${b} ${o}`], name)));
  } finally {
    await program.release();
  }
}

function lossOf(
  p: Program,
  block: Block,
  scope: SliceScope,
  samples: BlockSamples,
  points: PointValues,
): { loss: Value; feeds: Record<string, Tensor> } {
  const { feeds, batches } = declareSamples(p, samples);
  const energies = samples.targets.map((tensors) => Math.max(meanSquare(tensors), Number.MIN_VALUE));
  const terms = batches.flatMap(({ inputs, targets }) =>
    quantizedBlock(p, block, scope, inputs, points).map((y, o) => {
      const error = p.square(p.sub(y, required(targets[o], 'a target')));
      return p.div(p.reduceMean(error), required(energies[o], 'an energy'));
    }),
  );
  return {
    loss: p.div(
      terms.reduce((sum, term) => p.add(sum, term)),
      terms.length,
    ),
    feeds,
  };
}

/** Inputs for the samples of every batch, and the tensors to feed them. */
function declareSamples(p: Program, { inputs, targets }: BlockSamples) {
  const feeds: Record<string, Tensor> = {};
  const feed = (name: string, t: Tensor): Value => {
    feeds[name] = t;
    return p.input(name, t.dtype, t.dims);
  };
  const count = targets[0]?.length ?? 0;
  const batches = Array.from({ length: count }, (_, b) => ({
    inputs: Object.fromEntries(
      [...inputs].map(([name, tensors]) => [name, feed(`in ${b} ${name}`, required(tensors[b], name))]),
    ),
    targets: targets.map((tensors, o) => feed(`target ${b} ${o}`, required(tensors[b], 'a target'))),
  }));
  return { feeds, batches };
}

function constants(p: Program, points: PointArrays): PointValues {
  return Object.fromEntries(
    [...points].map(([key, f]) => [key, p.constant(tensor('float32', [f.length], f))]),
  );
}

function pointFeeds(points: PointVector, sizes: readonly number[]): Record<string, Tensor> {
  let from = 0;
  return Object.fromEntries(
    sizes.map((size, i) => {
      const part = Float32Array.from(points.subarray(from, (from += size)));
      return [`point ${i}`, tensor('float32', [size], part)];
    }),
  );
}

function scalar(t: Tensor): number {
  return toFloat32(t)[0] ?? NaN;
}

function meanSquare(tensors: readonly Tensor[]): number {
  let [sum, count] = [0, 0];
  for (const t of tensors) {
    const values = toFloat32(t);
    for (const v of values) sum += v * v;
    count += values.length;
  }
  return sum / Math.max(count, 1);
}
