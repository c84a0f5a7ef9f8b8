/**
 * Block reconstruction: codes, scales and biases of a block learned together, so that its output on what the quantized
 * network hands it comes close to the float network's (BRECQ, arXiv 2102.05426; QDrop, arXiv 2203.05740; SignRound,
 * arXiv 2309.05516). The whole optimization is one ONNX Loop.
 */
import { required, type Rng } from '../../core/index.js';
import {
  adam,
  createProgram,
  cosineSchedule,
  delayed,
  gradients,
  linearSchedule,
  loop,
  roundingPenalty,
  runProgram,
  signDescent,
  startOptimizer,
  uniform,
  updateParameters,
  type Optimizer,
  type OptimizerState,
  type Program,
  type Value,
} from '../../program/index.js';
import { sizeOf, tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { type SolvedWeight } from '../../plan/index.js';
import { type NetworkValues } from '../solved.js';
import { declareData, errorByUnit, takeUnits, type BlockProblem } from './block-problem.js';
import { weightProgram, type LearnedWeight, type Rounding, type WeightParameters } from './learned-weight.js';
import { SLICE_SESSION, inlineSlice } from './slice-program.js';

export interface ReconstructOptions {
  readonly rounding: Rounding;
  readonly iterations: number;
  /** Learning rate of the rounding variables. */
  readonly rate: number;
  /** Learning rate of the scales, relative to each scale. */
  readonly scaleRate: number;
  /** Learning rate of the biases, in units of the layer's rounding error. */
  readonly biasRate: number;
  /** Weight of the regularizer of soft rounding against the error, which is 1 at the start. */
  readonly penalty: number;
  /** Share of the iterations before the regularizer sets in. */
  readonly warmUp: number;
  /** Probability that an element of an activation stays as the float network has it (QDrop). */
  readonly drop: number;
}

/** Exponent of the regularizer: high leaves values in the middle alone, low decides them. */
const BETA = { from: 20, to: 2 };

/** What was found: weights by initializer, and biases. */
export interface Reconstruction {
  readonly weights: ReadonlyMap<string, SolvedWeight>;
  readonly biases: ReadonlyMap<string, Tensor>;
  /** Mean error of the units of each step, relative to the error of the starting codes. */
  readonly losses: Float32Array;
}

type Parameters = {
  readonly weights: readonly WeightParameters[];
  readonly shifts: readonly Value[];
};

/**
 * Learns the weights of a block from its units for fitting.
 *
 * @param start     codes and biases to start from
 * @param startNoise error of every unit at the start. It is the unit of the loss; a unit with a far larger error than
 *                   others counts less, so that a few samples beyond the range of the activations do not decide
 */
export async function reconstruct(
  problem: BlockProblem,
  start: NetworkValues,
  options: ReconstructOptions,
  startNoise: Float64Array,
  rng: Rng,
): Promise<Reconstruction> {
  const { iterations, rounding, drop, warmUp, penalty } = options;
  const p = createProgram();
  const data = declareData(p, problem, drop > 0);
  const startOf = ({ layer }: LearnedWeight): SolvedWeight =>
    required(start.weights.get(layer.weight), layer.weight);
  const weights = problem.weights.map((w) => weightProgram(p, w, startOf(w), rounding));
  const biases = biasPrograms(p, problem, start);
  const unitWeight = p.constant(unitWeights(startNoise));
  const rows = rowTable(p, problem, iterations, rng);
  const chance = drop === 0 ? undefined : dropper(p, problem, options, rng);
  const count = problem.weights.reduce((sum, w) => sum + w.weight.length, 0);
  const warm = Math.round(warmUp * iterations);
  const anneal = delayed(warm, BETA.from, linearSchedule(BETA.from, BETA.to, iterations - warm));
  const strength = delayed(warm, 0, linearSchedule(penalty, penalty, 1));

  const first: Parameters = {
    weights: weights.map((w) => w.first),
    shifts: biases.map((b) => b.first),
  };
  const trainer = createTrainer(options);
  const { state, record } = loop(
    p,
    { parameters: first, memory: trainer.start(p, first) },
    iterations,
    (b, { parameters, memory }, iteration) => {
      const step = b.cast(iteration, 'float32');
      const picked = b.gather(rows, iteration);
      const take = (v: Value): Value => takeUnits(b, problem, v, picked);
      const keeps = chance?.(b, iteration);
      const bind: Record<string, Value> = {};
      [...data.lossy].forEach(([name, v], i) => {
        const exact = data.exact.get(name);
        const kept =
          exact === undefined ? undefined : keeps?.(b, take(exact), problem.slice.quantizers.length + i);
        bind[name] =
          kept === undefined || exact === undefined ? take(v) : b.where(kept, take(v), take(exact));
      });
      const shares: Value[] = [];
      weights.forEach((w, i) => {
        const { values, share } = w.values(b, required(parameters.weights[i], 'parameters'));
        bind[required(problem.weights[i], 'a weight').layer.weight] = values;
        if (share !== undefined) shares.push(share);
      });
      biases.forEach(
        (bias, i) => (bind[bias.name] = bias.value(b, required(parameters.shifts[i], 'a shift'))),
      );
      const results = inlineSlice(b, problem.slice, bind, keeps);
      const targets = new Map([...data.targets].map(([name, v]) => [name, take(v)]));
      const errors = errorByUnit(b, problem, results, targets);
      const error = b.reduceMean(b.mul(errors, b.gather(unitWeight, picked)));
      const exponent = anneal(b, step);
      const penalties = shares.map((share) => roundingPenalty(b, share, exponent));
      const [head, ...rest] = penalties;
      const loss =
        head === undefined
          ? error
          : b.add(error, b.mul(b.div(b.sum([head, ...rest]), count), strength(b, step)));
      const slopes = gradients(b, loss, parameters);
      return {
        state: trainer.update(b, parameters, slopes, memory, step),
        record: { loss: error },
      };
    },
  );
  const settled = weights.map((w, i) => w.settle(p, required(state.parameters.weights[i], 'parameters')));
  const shifted = biases.map((bias, i) => bias.value(p, required(state.parameters.shifts[i], 'a shift')));
  const outputs = { settled, shifted, loss: record.loss };
  interface Found {
    readonly settled: readonly { readonly codes: Tensor; readonly scale: Tensor }[];
    readonly shifted: readonly Tensor[];
    readonly loss: Tensor;
  }
  const found = await runProgram<typeof outputs, Found>(p, outputs, data.feeds, SLICE_SESSION);
  return {
    weights: new Map(
      problem.weights.map((w, i) => {
        const { layer } = w;
        const { codes, scale } = required(found.settled[i], 'a weight');
        const solved: SolvedWeight = {
          initializer: layer.weight,
          codes: Int32Array.from(toFloat32(codes)),
          scale: toFloat32(scale),
          zeroPoint: startOf(w).zeroPoint,
        };
        return [layer.weight, solved] as const;
      }),
    ),
    biases: new Map(biases.map(({ name }, i) => [name, required(found.shifted[i], 'a bias')])),
    losses: toFloat32(found.loss),
  };
}

interface BiasProgram {
  readonly name: string;
  readonly first: Value;
  value(b: Program, shift: Value): Value;
}

/** Rounding error of a weight with uniform error, in steps: 1/√12. */
const UNIFORM = 0.29;

/** Biases as their start plus a shift, in units of the error that rounding makes for inputs of size 1. */
function biasPrograms(p: Program, { biases }: BlockProblem, start: NetworkValues): BiasProgram[] {
  return [...biases].map(([name, { layer }]) => {
    const { scale } = required(start.weights.get(layer.weight), layer.weight);
    const mean = scale.reduce((sum, s) => sum + s, 0) / scale.length;
    const unit = mean * UNIFORM * Math.sqrt(layer.layout.in * layer.layout.kernel);
    const from = p.constant(required(start.biases.get(name), name));
    return { name, first: p.fullLike(from, 0), value: (b, shift) => b.add(from, b.mul(shift, unit)) };
  });
}

/** Weights that bring the errors at the start to a mean of 1: w = c / (e + ē) for a unit of error e, mean ē. */
function unitWeights(startNoise: Float64Array): Tensor {
  const mean = startNoise.reduce((sum, e) => sum + e, 0) / startNoise.length;
  const plain = startNoise.map((e) => 1 / (e + mean));
  const total = plain.reduce((sum, w, i) => sum + w * (startNoise[i] as number), 0) / plain.length;
  return tensor(
    'float32',
    [plain.length],
    Float32Array.from(plain, (w) => w / total),
  );
}

/** Which units each step sees: all of them once, in random order, before any comes again. [iterations, batch] */
function rowTable(p: Program, { units, batch }: BlockProblem, iterations: number, rng: Rng): Value {
  const draws = rng.fork('rows');
  const table = new BigInt64Array(iterations * batch);
  let queue: number[] = [];
  for (let i = 0; i < table.length; i++) {
    if (queue.length === 0) queue = draws.shuffle(Array.from({ length: units.fit }, (_, u) => u));
    table[i] = BigInt(queue.pop() ?? 0);
  }
  return p.constant(tensor('int64', [iterations, batch], table));
}

/** Extra random numbers of the bank, so that every step starts at another place. */
const BANK_ROOM = 2 ** 16;

/**
 * Decides which elements see the quantized network: from one bank of random numbers, read from another place for every
 * value and step.
 */
function dropper(
  p: Program,
  { slice, inputs, batch, units }: BlockProblem,
  { drop, iterations }: ReconstructOptions,
  rng: Rng,
): (b: Program, iteration: Value) => (b: Program, raw: Value, index: number) => Value {
  const draws = rng.fork('drop');
  const values = slice.quantizers.length + inputs.size;
  const starts = Array.from({ length: iterations * values }, () => BigInt(draws.below(BANK_ROOM)));
  const table = p.constant(tensor('int64', [iterations, values], BigInt64Array.from(starts)));
  const sizes = [
    ...[...slice.types.values()].map((t) =>
      sizeOf((t.dims ?? []).map((d) => (typeof d === 'number' ? d : 0))),
    ),
    ...[...inputs.values()].map(({ lossy }) => (sizeOf(lossy.dims) / units.count) * batch),
  ];
  const size = Math.max(...sizes) + BANK_ROOM;
  const bank = p.greaterOrEqual(uniform(p, p.full([size], 0), p.scalar(0, 'int64'), draws.bits()), drop);
  return (outer, iteration) => {
    const places = outer.gather(table, iteration);
    return (b, raw, index) => {
      const dims = raw.dims as readonly number[];
      const start = b.gather(places, b.constant(tensor('int64', [1], [BigInt(index)])));
      const end = b.add(start, sizeOf(dims));
      const part = b.tape.op('Slice', [bank, start, end], { dtype: 'bool', dims: [sizeOf(dims)] });
      return b.reshape(part, dims);
    };
  };
}

/** State of the optimizers. */
type Memory = {
  readonly v: OptimizerState;
  readonly stretch: OptimizerState;
  readonly shifts: OptimizerState;
};

interface Trainer {
  start(p: Program, parameters: Parameters): Memory;
  update(
    b: Program,
    parameters: Parameters,
    slopes: Parameters,
    memory: Memory,
    step: Value,
  ): { readonly parameters: Parameters; readonly memory: Memory };
}

/** Optimizers of the three kinds of parameters, with a learning rate each. */
function createTrainer({ rounding, rate, scaleRate, biasRate, iterations }: ReconstructOptions): Trainer {
  const codes: Optimizer = rounding === 'sign' ? signDescent() : adam();
  const others = adam();
  const falling = cosineSchedule(1, 0, iterations);
  const codeRate = rounding === 'sign' ? linearSchedule(rate, 0, iterations) : undefined;
  const pick = (parameters: Parameters) => ({
    v: parameters.weights.map((w) => w.v),
    stretch: parameters.weights.map((w) => w.stretch),
    shifts: parameters.shifts,
  });
  return {
    start: (p, parameters) => {
      const { v, stretch, shifts } = pick(parameters);
      return {
        v: startOptimizer(p, codes, v),
        stretch: startOptimizer(p, others, stretch),
        shifts: startOptimizer(p, others, shifts),
      };
    },
    update: (b, parameters, slopes, memory, step) => {
      const count = b.add(step, 1);
      const share = falling(b, step);
      const [now, slope] = [pick(parameters), pick(slopes)];
      const v = updateParameters(b, codes, now.v, slope.v, memory.v, {
        rate: codeRate?.(b, step) ?? rate,
        count,
      });
      const stretch = updateParameters(b, others, now.stretch, slope.stretch, memory.stretch, {
        rate: b.mul(share, scaleRate),
        count,
      });
      const shifts = updateParameters(b, others, now.shifts, slope.shifts, memory.shifts, {
        rate: b.mul(share, biasRate),
        count,
      });
      return {
        parameters: {
          weights: v.parameters.map((value, i) => ({
            v: value,
            stretch: required(stretch.parameters[i], 'a factor'),
          })),
          shifts: shifts.parameters,
        },
        memory: { v: v.state, stretch: stretch.state, shifts: shifts.state },
      };
    },
  };
}
