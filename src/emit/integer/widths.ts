/** Accumulator widths: proven for any input and for calibrated ranges, and the scales that would make them fit. */
import { required } from '../../core/index.js';
import { parseFormat } from '../../formats/index.js';
import { type Plan, type SolvedWeight } from '../../plan/index.js';
import { accumulatorRanges, hull, integerRange, signedBits, type Range } from './accumulator.js';
import { type ArithmeticOp, type IntegerProgram } from './program.js';

export interface AccumulatorWidth {
  readonly node: string;
  readonly kind: ArithmeticOp['kind'];
  /** Bits of a signed word that no input whatever can overflow, in any order of summation. */
  readonly bits: number;
  /** Channel that needs them. */
  readonly channel: number;
  readonly range: Range;
  /** Bits when activations stay in their calibrated ranges. */
  readonly calibratedBits?: number;
  /** Bits of the largest bias alone. */
  readonly biasBits?: number;
}

/** Real ranges of values seen in calibration, by name of the codes. */
export type CalibratedRanges = ReadonlyMap<string, Range>;

/** Widths of all accumulators of a program, in order of execution. */
export function accumulatorWidths(
  program: IntegerProgram,
  calibrated?: CalibratedRanges,
): AccumulatorWidth[] {
  const calibratedRange = (name: string): Range => rangeInCodes(program, name, calibrated?.get(name));
  return program.ops.filter(isArithmetic).map((op) => {
    const ranges = rangesOf(op, program, (name) => integerRange(program, name));
    const bits = ranges.map(signedBits);
    const most = Math.max(...bits);
    const channel = bits.indexOf(most);
    const bias = 'bias' in op && op.bias !== undefined ? program.constants.get(op.bias) : undefined;
    return {
      node: op.node,
      kind: op.kind,
      bits: most,
      channel,
      range: required(ranges[channel], 'a range'),
      ...(calibrated === undefined
        ? {}
        : { calibratedBits: signedBits(rangesOf(op, program, calibratedRange).reduce(hull)) }),
      ...(bias === undefined ? {} : { biasBits: signedBits(bias) }),
    };
  });
}

/** Whether an accumulator sums products of a layer; element-wise operations choose their width themselves. */
export function sumsProducts({ kind }: Pick<AccumulatorWidth, 'kind'>): boolean {
  return kind === 'convolution' || kind === 'matrix-product';
}

function isArithmetic(op: IntegerProgram['ops'][number]): op is ArithmeticOp {
  return 'rescale' in op;
}

function rangesOf(op: ArithmeticOp, program: IntegerProgram, rangeOf: (name: string) => Range): Range[] {
  return accumulatorRanges(op, rangeOf, program.constants);
}

/** A real range as integers, cut to what the codes can hold; the whole grid for values that were not observed. */
function rangeInCodes(program: IntegerProgram, name: string, real: Range | undefined): Range {
  const whole = integerRange(program, name);
  const value = program.values.get(name);
  if (value === undefined || real === undefined) return whole;
  const { encode } = parseFormat(value.format);
  const code = (x: number): number => encode(x / value.scale, value.zeroPoint) - value.zeroPoint;
  return {
    low: Math.max(whole.low, Math.min(code(real.low), 0)),
    high: Math.min(whole.high, Math.max(code(real.high), 0)),
  };
}

/** The plan with larger weight scales, and the layers they are for. */
export interface NarrowedPlan {
  readonly plan: Plan;
  readonly layers: readonly { readonly node: string; readonly channels: readonly number[] }[];
}

/**
 * Raises the lowest allowed scale of every weight channel whose accumulator exceeds a width, by 2 for each bit too many:
 * codes and bias shrink by as much, and the next rounding keeps to it. Rounding may leave a channel just above the
 * limit, so solve and lower again until no layer is returned.
 *
 * @param solved weights of the program, for their scales
 */
export function narrowAccumulators(
  plan: Plan,
  program: IntegerProgram,
  solved: ReadonlyMap<string, SolvedWeight>,
  limit: number,
): NarrowedPlan {
  const weights = { ...plan.weights };
  const layers: { node: string; channels: number[] }[] = [];
  for (const op of program.ops) {
    if (op.kind !== 'convolution' && op.kind !== 'matrix-product') continue;
    const initializer = Object.values(plan.nodes[op.node]?.weights ?? {})[0] ?? '';
    const quantization = weights[initializer];
    const scale = solved.get(initializer)?.scale;
    if (quantization === undefined || scale === undefined) continue;
    const ranges = rangesOf(op, program, (name) => integerRange(program, name));
    const excess = ranges.map((range) => Math.max(signedBits(range) - limit, 0));
    const channels = excess.flatMap((bits, channel) => (bits > 0 ? [channel] : []));
    if (channels.length === 0) continue;
    layers.push({ node: op.node, channels });
    const known = quantization.minimumScale ?? [];
    const minimumScale = Array.from(scale, (s, c) => {
      const bits = scale.length === 1 ? Math.max(...excess) : (excess[c] ?? 0);
      return Math.max(bits > 0 ? s * 2 ** bits : 0, known[c] ?? 0);
    });
    weights[initializer] = { ...quantization, minimumScale };
  }
  return { plan: { ...plan, weights }, layers };
}
