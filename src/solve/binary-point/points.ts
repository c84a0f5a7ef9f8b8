/** The binary points of a plan that are free to move, and the plan with others in their place. */
import { parseFormat, type FixedFormat, type NumberFormat } from '../../formats/index.js';
import { type Plan, type SolvedWeight } from '../../plan/index.js';

/** One or more F that a tensor, or the activations of a tie, are quantized with. */
export interface OpenPoint {
  /** Lowest and highest code. */
  readonly low: number;
  readonly high: number;
  /** Channel axis of a weight with one F a channel. */
  readonly axis?: number;
  /** F to start from. */
  readonly start: Float32Array;
}

/** Open points by key: {@link weightKey} or {@link activationKey}. */
export type OpenPoints = ReadonlyMap<string, OpenPoint>;

export function weightKey(initializer: string): string {
  return `weight ${initializer}`;
}

export function activationKey(tie: string): string {
  return `activation ${tie}`;
}

/** Whether F of a format is open, and its grid one that straight-through rounding describes. */
export function hasOpenPoint(name: string): boolean {
  if (name === 'float') return false;
  const format = parseFormat(name);
  return format.scale === 'power-of-two' && format.scaleFor(1) !== format.scaleFor(1024);
}

/** Whether rounding is to nearest even, and values beyond the grid saturate: what the gradient rule speaks of. */
export function hasGradient(format: NumberFormat): boolean {
  if (!format.uniform || !format.integer) return false;
  if (format.family !== 'fixed') return true;
  const { rounding, overflow } = format as FixedFormat;
  return rounding === 'AP_RND_CONV' && (overflow === 'AP_SAT' || overflow === 'AP_SAT_SYM');
}

/**
 * The points of a plan whose activations have scales.
 *
 * @param weights rounded weights, whose scales are the starting points
 */
export function openPoints(plan: Plan, weights: ReadonlyMap<string, SolvedWeight>): OpenPoints {
  const points = new Map<string, OpenPoint>();
  const learnable = (name: string): boolean => hasOpenPoint(name) && hasGradient(parseFormat(name));
  for (const { tie, format, scale, range } of Object.values(plan.activations)) {
    if (range?.method === 'given' || !learnable(format)) continue;
    const { low, high } = parseFormat(format);
    points.set(activationKey(tie), { low, high, start: fractions(scale) });
  }
  for (const { initializer, format, granularity } of Object.values(plan.weights)) {
    const solved = weights.get(initializer);
    if (solved === undefined || granularity.kind === 'block' || !learnable(format)) continue;
    const { low, high } = parseFormat(format);
    points.set(weightKey(initializer), {
      low,
      high,
      ...(granularity.kind === 'channel' ? { axis: granularity.axis } : {}),
      start: fractions(solved.scale),
    });
  }
  return points;
}

function fractions(scale: ArrayLike<number>): Float32Array {
  return Float32Array.from(scale, (s) => -Math.log2(s));
}

/** The plan with given points: scales of activations, and scales of weights that rounding is to keep. */
export function withPoints(plan: Plan, points: ReadonlyMap<string, Float32Array>): Plan {
  const scalesAt = (key: string): number[] | undefined => {
    const fraction = points.get(key);
    return fraction === undefined ? undefined : Array.from(fraction, (f) => 2 ** -f);
  };
  const activations = Object.entries(plan.activations).map(([id, activation]) => {
    const scale = scalesAt(activationKey(activation.tie));
    if (scale === undefined) return [id, activation] as const;
    const { low, high } = parseFormat(activation.format);
    const unit = scale[0] ?? 1;
    const range = { low: low * unit, high: high * unit, method: 'learned' };
    return [id, { ...activation, scale, range }] as const;
  });
  const weights = Object.entries(plan.weights).map(([name, weight]) => {
    const scale = scalesAt(weightKey(name));
    return [name, scale === undefined ? weight : { ...weight, scale }] as const;
  });
  return {
    ...plan,
    activations: Object.fromEntries(activations),
    weights: Object.fromEntries(weights),
  };
}
