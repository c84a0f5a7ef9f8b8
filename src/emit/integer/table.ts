/** The machine-readable table beside an integer model: formats, binary points, ranges, modes, accumulators. */
import { countShiftAdds, parseFormat, type ShiftAddCount } from '../../formats/index.js';
import { type Plan, type SolvedWeight, type WeightQuantization } from '../../plan/index.js';
import { storageType } from './onnx-writer.js';
import { type CodeValue, type IntegerProgram } from './program.js';
import { resultWord } from './rescale.js';
import { accumulatorWidths, type AccumulatorWidth, type CalibratedRanges } from './widths.js';

export interface ValueRow {
  readonly name: string;
  readonly format: string;
  readonly bits: number;
  readonly signed: boolean;
  /** ONNX element type of the stored codes. */
  readonly storage: string;
  readonly scale: number;
  readonly zeroPoint: number;
  /** Fractional bits, where the scale is a power of two. */
  readonly binaryPoint?: number;
  /** Real values that can occur. */
  readonly range: readonly [low: number, high: number];
  readonly rounding: string;
  readonly overflow: string;
}

export interface WeightRow {
  readonly name: string;
  readonly format: string;
  readonly bits: number;
  readonly signed: boolean;
  /** One a channel, or one for all. */
  readonly scales: readonly number[];
  readonly zeroPoints: readonly number[];
  /** One a scale; only where all scales are powers of two. */
  readonly binaryPoints?: readonly number[];
  /** Real values that the format can hold at the widest scale. */
  readonly range: readonly [low: number, high: number];
  /** The mode of the format; solvers may choose other codes than it gives. */
  readonly rounding: string;
  /** As planned: `nearest`, `auto`, `descent` … */
  readonly solver: string;
  readonly overflow: string;
  /** Shifts and additions in place of multiplications, for sums of powers of two. */
  readonly shiftAdds?: ShiftAddCount;
}

export interface IntegerTable {
  readonly version: 1;
  readonly values: readonly ValueRow[];
  readonly weights: readonly WeightRow[];
  readonly accumulators: readonly AccumulatorWidth[];
}

/** The table of a lowered model. */
export function integerTable(
  program: IntegerProgram,
  plan: Plan,
  solved: ReadonlyMap<string, SolvedWeight>,
  calibrated?: CalibratedRanges,
): IntegerTable {
  return {
    version: 1,
    values: [...program.values.values()].map(valueRow),
    weights: Object.values(plan.weights).map((weight) => weightRow(weight, solved.get(weight.initializer))),
    accumulators: accumulatorWidths(program, calibrated),
  };
}

function valueRow(value: CodeValue): ValueRow {
  const format = parseFormat(value.format);
  const { rounding, overflow } = resultWord(format);
  const point = -Math.log2(value.scale);
  return {
    name: value.name,
    format: value.format,
    bits: format.bits,
    signed: format.signed,
    storage: storageType(value),
    scale: value.scale,
    zeroPoint: value.zeroPoint,
    ...(Number.isInteger(point) ? { binaryPoint: point } : {}),
    range: [(value.low - value.zeroPoint) * value.scale, (value.high - value.zeroPoint) * value.scale],
    rounding,
    overflow,
  };
}

function weightRow(
  { initializer: name, format: formatName, solver }: WeightQuantization,
  solved: SolvedWeight | undefined,
): WeightRow {
  const format = parseFormat(formatName);
  const { rounding, overflow } = resultWord(format);
  const scales = Array.from(solved?.scale ?? []);
  const zeroPoints = Array.from(solved?.zeroPoint ?? []);
  const points = scales.map((scale) => -Math.log2(scale));
  const ends = (code: number): number[] => scales.map((scale, i) => (code - (zeroPoints[i] ?? 0)) * scale);
  const variant = /^pot\d+([kt])/.exec(formatName)?.[1] as 'k' | 't' | undefined;
  return {
    name,
    format: formatName,
    bits: format.bits,
    signed: format.signed,
    scales,
    zeroPoints,
    range: [Math.min(0, ...ends(format.low)), Math.max(0, ...ends(format.high))],
    rounding,
    solver,
    overflow,
    ...(points.length > 0 && points.every(Number.isInteger) ? { binaryPoints: points } : {}),
    ...(variant === undefined || solved === undefined
      ? {}
      : { shiftAdds: countShiftAdds(solved.codes, variant) }),
  };
}
