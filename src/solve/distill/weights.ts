/** What distillation learns: codes and scales of weights, and biases, each in its own unit; and the way back to codes. */
import { required } from '../../core/index.js';
import { dequantize, parseFormat, type NumberFormat } from '../../formats/index.js';
import { GraphEditor, everyConstant, loadTensor, type Graph } from '../../onnx/index.js';
import { roundStraightThrough, type Program, type Value } from '../../program/index.js';
import { solvedFormat, type Granularity, type Plan, type SolvedWeight } from '../../plan/index.js';
import { roundHalfEven, tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { biasInitializer } from '../bias.js';
import { findWeightedLayers } from '../layers.js';
import { groupingOf } from '../round-to-nearest.js';

/** A weight that is learned. */
interface LearnedWeight {
  readonly initializer: string;
  readonly dims: readonly number[];
  readonly format: NumberFormat;
  readonly granularity: Granularity;
  readonly start: SolvedWeight;
  /** 1 where a weight may be non-zero, in the initializer's order; absent for dense weights. */
  readonly mask?: Float32Array;
  /** Root mean square of the codes: the size of a typical weight. */
  readonly unit: number;
  readonly minimumScale?: readonly number[];
}

interface LearnedBias {
  readonly initializer: string;
  readonly start: Tensor<'float32'>;
  readonly unit: number;
}

/** Everything that is learned, and the weights that stay as they are. */
export interface Learned {
  readonly weights: readonly LearnedWeight[];
  readonly biases: readonly LearnedBias[];
  /** Values of quantized weights that are not learned, by initializer. */
  readonly fixed: ReadonlyMap<string, Tensor<'float32'>>;
}

/**
 * Parameters by leaf. `codes` are offsets from the solved codes in units of their root mean square, `stretch` factors on
 * the solved scales, `biases` offsets in units of the bias's root mean square: one learning rate suits all of them. A type alias, so that it is itself a tree.
 */
export type Parameters<T> = {
  readonly codes: readonly T[];
  readonly stretch: readonly T[];
  readonly biases: readonly T[];
};

/**
 * Finds what can be learned: integer weights of layers (not of lookups), and the biases that belong to these layers
 * alone.
 *
 * @param sparse nodes whose zero weights stay zero
 */
export function learnedWeights(
  graph: Graph,
  plan: Plan,
  solved: ReadonlyMap<string, SolvedWeight>,
  sparse: ReadonlySet<string>,
): Learned {
  const layers = findWeightedLayers(graph).filter((layer) => layer.patches.kind !== 'lookup');
  const constants = everyConstant(graph);
  const editor = new GraphEditor(graph);
  const weights = new Map<string, LearnedWeight>();
  const fixed = new Map<string, Tensor<'float32'>>();
  const biases = new Map<string, LearnedBias>();
  for (const [initializer, quantization] of Object.entries(plan.weights)) {
    const { dims } = required(constants.get(initializer), `initializer ${initializer}`);
    const start = required(solved.get(initializer), `weight ${initializer}`);
    const format = parseFormat(quantization.format);
    const users = layers.filter((layer) => layer.weight === initializer);
    const { granularity, minimumScale } = quantization;
    if (users.length === 0 || !isLearnable(format)) {
      fixed.set(initializer, valuesOf(solvedFormat(quantization, start), start, granularity, dims));
      continue;
    }
    const centred = centredCodes(start, granularity, dims);
    weights.set(initializer, {
      initializer,
      dims,
      format,
      granularity,
      start,
      unit: rootMeanSquare(centred) || 1,
      ...(users.some((layer) => sparse.has(layer.node.name))
        ? { mask: centred.map((code) => (code === 0 ? 0 : 1)) }
        : {}),
      ...(minimumScale === undefined ? {} : { minimumScale }),
    });
    for (const layer of users) {
      const name = biasInitializer(editor, layer);
      if (name === undefined || plan.weights[name] !== undefined) continue;
      const values = toFloat32(loadTensor(required(graph.initializers.get(name), name), name));
      const unit = rootMeanSquare(values) || 1;
      biases.set(name, {
        initializer: name,
        start: tensor('float32', graph.initializers.get(name)?.dims ?? [], values),
        unit,
      });
    }
  }
  return { weights: [...weights.values()], biases: [...biases.values()], fixed };
}

/** Formats whose codes are all integers of a range, with a scale of their own. */
function isLearnable({ uniform, integer, scale }: NumberFormat): boolean {
  return uniform && integer && (scale === 'float' || scale === 'power-of-two');
}

/** Parameters at which the network is the solved one. */
export function startParameters({ weights, biases }: Learned): Parameters<Tensor> {
  return {
    codes: weights.map(({ dims }) => tensor('float32', dims)),
    stretch: weights.map(({ start }) =>
      tensor(
        'float32',
        [start.scale.length],
        start.scale.map(() => 1),
      ),
    ),
    biases: biases.map(({ start }) => tensor('float32', start.dims)),
  };
}

/** The values that take the place of weights and biases in the network, by initializer. */
export function learnedValues(
  p: Program,
  { weights, biases, fixed }: Learned,
  parameters: Parameters<Value>,
): Record<string, Value> {
  const values = new Map<string, Value>();
  weights.forEach((weight, i) => {
    const { start, dims, granularity, unit, mask } = weight;
    const offset = required(parameters.codes[i], 'codes');
    const centred = p.constant(tensor('float32', dims, centredCodes(start, granularity, dims)));
    const moved = p.add(centred, p.mul(offset, unit));
    const codes = roundStraightThrough(p, withinGrid(p, moved, weight));
    const kept = mask === undefined ? codes : p.mul(codes, p.constant(tensor('float32', dims, mask)));
    const scale = learnedScale(p, weight, required(parameters.stretch[i], 'a stretch'));
    values.set(weight.initializer, p.mul(kept, spread(p, scale, weight)));
  });
  biases.forEach(({ initializer, start, unit }, i) => {
    values.set(initializer, p.add(p.constant(start), p.mul(required(parameters.biases[i], 'a bias'), unit)));
  });
  for (const [name, value] of fixed) values.set(name, p.constant(value));
  return Object.fromEntries(values);
}

/** Codes, scales and biases at given parameters, as the program computes them. */
export function learnedResult(
  { weights, biases }: Learned,
  parameters: Parameters<Tensor>,
): { weights: Map<string, SolvedWeight>; biases: Map<string, Tensor> } {
  const numbers = (t: Tensor | undefined): Float32Array => toFloat32(required(t, 'a parameter'));
  return {
    weights: new Map(
      weights.map((weight, i) => {
        const { initializer, start, dims, format, granularity, unit, mask, minimumScale } = weight;
        const grouping = groupingOf(granularity, dims);
        const centred = centredCodes(start, granularity, dims);
        const codes = Int32Array.from(numbers(parameters.codes[i]), (offset, at) => {
          const zero = start.zeroPoint[grouping.of(at)] as number;
          const moved = Math.fround((centred[at] as number) + Math.fround(offset * unit));
          const limited = Math.min(Math.max(moved, format.low - zero), format.high - zero);
          return (mask?.[at] === 0 ? 0 : roundHalfEven(limited)) + zero;
        });
        const stretch = numbers(parameters.stretch[i]);
        const scale = start.scale.map((s, cell) =>
          Math.max(Math.fround(s * stretchOf(weight, stretch[cell] as number)), minimumScale?.[cell] ?? 0),
        );
        return [initializer, { initializer, codes, scale, zeroPoint: start.zeroPoint }];
      }),
    ),
    biases: new Map(
      biases.map(({ initializer, start, unit }, i) => {
        const offsets = numbers(parameters.biases[i]);
        const values = toFloat32(start).map((b, at) =>
          Math.fround(b + Math.fround((offsets[at] as number) * unit)),
        );
        return [initializer, tensor('float32', start.dims, values)];
      }),
    ),
  };
}

/** Scales may shrink to this share: they must stay positive. */
const LEAST_STRETCH = 0.25;

function stretchOf({ format }: LearnedWeight, stretch: number): number {
  return format.scale === 'float' ? Math.max(stretch, LEAST_STRETCH) : 1;
}

/** Scales in the shape of the scale tensor, flat. */
function learnedScale(p: Program, { start, format, minimumScale }: LearnedWeight, stretch: Value): Value {
  const given = p.constant(tensor('float32', [start.scale.length], start.scale));
  // Powers of two are where the format's arithmetic is exact; they stay.
  if (format.scale !== 'float') return given;
  const scale = p.mul(given, p.max(stretch, LEAST_STRETCH));
  return minimumScale === undefined
    ? scale
    : p.max(scale, p.constant(tensor('float32', [minimumScale.length], minimumScale)));
}

/** One scale for every element, or in a shape that broadcasts over the weight. */
function spread(p: Program, scale: Value, { granularity, dims }: LearnedWeight): Value {
  switch (granularity.kind) {
    case 'tensor':
      return p.reshape(scale, []);
    case 'channel':
      return p.reshape(
        scale,
        dims.map((d, axis) => (axis === granularity.axis ? d : 1)),
      );
    case 'block': {
      const grouping = groupingOf(granularity, dims);
      const size = dims.reduce((product, d) => product * d, 1);
      const cells = Array.from({ length: size }, (_, at) => BigInt(grouping.of(at)));
      return p.reshape(p.gather(scale, p.constant(tensor('int64', [size], cells))), dims);
    }
  }
}

/** Codes less their zero points, limited to the grid. */
function withinGrid(p: Program, moved: Value, { format, start, granularity, dims }: LearnedWeight): Value {
  const [zero = 0] = start.zeroPoint;
  if (start.zeroPoint.every((z) => z === zero)) return p.clip(moved, format.low - zero, format.high - zero);
  const grouping = groupingOf(granularity, dims);
  const limit = (end: number): Value =>
    p.constant(
      tensor(
        'float32',
        dims,
        Float32Array.from(start.codes, (_, at) => end - (start.zeroPoint[grouping.of(at)] as number)),
      ),
    );
  return p.max(p.min(moved, limit(format.high)), limit(format.low));
}

/** Codes less their zero points. */
function centredCodes(
  { codes, zeroPoint }: SolvedWeight,
  granularity: Granularity,
  dims: readonly number[],
): Float32Array {
  const grouping = groupingOf(granularity, dims);
  return Float32Array.from(codes, (code, at) => code - (zeroPoint[grouping.of(at)] as number));
}

function valuesOf(
  format: NumberFormat,
  solved: SolvedWeight,
  granularity: Granularity,
  dims: readonly number[],
): Tensor<'float32'> {
  return tensor('float32', dims, dequantize(format, solved, groupingOf(granularity, dims)));
}

function rootMeanSquare(values: Float32Array): number {
  const sum = values.reduce((total, v) => total + v * v, 0);
  return Math.sqrt(sum / Math.max(values.length, 1));
}
