/** Rounding that can be learned: straight-through, soft (AdaRound) and with a learned step size (LSQ). */
import { type Program } from './program.js';
import { knownDims, type Operand, type Value } from './value.js';

/** x with gradient zero: what is computed from it is constant to the walk. */
export function stopGradient(p: Program, x: Value): Value {
  return p.tape.setGradient(p.identity(x), { inputs: [], rule: () => [] });
}

/** x whose gradient is multiplied by a factor on the way back. */
export function scaleGradient(p: Program, x: Value, factor: number): Value {
  return p.tape.setGradient(p.identity(x), { inputs: [x], rule: (g) => [p.mul(g, factor)] });
}

/** round(x), ties to even, whose derivative is taken to be one (straight-through estimator, Bengio et al. 2013). */
export function roundStraightThrough(p: Program, x: Value): Value {
  return p.tape.setGradient(p.round(x), { inputs: [x], rule: (g) => [g] });
}

/** x limited to [low, high] whose derivative is taken to be one everywhere, outside as well. */
export function clipStraightThrough(p: Program, x: Value, low: Operand, high: Operand): Value {
  return p.tape.setGradient(p.clip(x, low, high), { inputs: [x], rule: (g) => [g] });
}

/** Stretch of the rectified sigmoid, so that 0 and 1 are reached at finite V (AdaRound, Nagel et al. 2020, eq. 23). */
const ZETA = 1.1;
const GAMMA = -0.1;

/** AdaRound's rectified sigmoid h(V) = clip(σ(V)(ζ − γ) + γ, 0, 1): the share of rounding up. */
export function softRounding(p: Program, v: Value): Value {
  return p.clip(p.add(p.mul(p.sigmoid(v), ZETA - GAMMA), GAMMA), 0, 1);
}

/** V at which h(V) is the given share: V = −ln((ζ − γ)/(h − γ) − 1). */
export function softRoundingInverse(p: Program, share: Value): Value {
  return p.neg(p.log(p.sub(p.div(ZETA - GAMMA, p.sub(share, GAMMA)), 1)));
}

/** AdaRound's regularizer Σ (1 − |2h − 1|^β), which drives every h to 0 or 1; β of at least 1. */
export function roundingPenalty(p: Program, h: Value, beta: Operand): Value {
  return p.reduceSum(p.sub(1, p.pow(p.abs(p.sub(p.mul(h, 2), 1)), beta)));
}

/** Integer grid of a fake quantizer; the zero point is in codes and broadcasts like the scale. */
export interface QuantizerGrid {
  readonly low: number;
  readonly high: number;
  readonly zeroPoint?: Operand;
}

/**
 * s·(clip(round(x/s) + z, low, high) − z) with gradients to x and s. Rounding is straight-through, so that the scale's
 * derivative is LSQ's: round(x/s) − x/s inside the grid, the bound itself outside (Esser et al. 2020, eq. 3).
 *
 * @param scale positive; one for the tensor or broadcast along channels
 */
export function fakeQuantize(p: Program, x: Value, scale: Value, grid: QuantizerGrid): Value {
  const { low, high, zeroPoint } = grid;
  const steps = p.div(x, scale);
  const shifted = zeroPoint === undefined ? steps : p.add(steps, zeroPoint);
  const codes = roundStraightThrough(p, p.clip(shifted, low, high));
  return p.mul(zeroPoint === undefined ? codes : p.sub(codes, zeroPoint), scale);
}

/** {@link fakeQuantize} whose scale learns at LSQ's rate: its gradient is multiplied by 1/√(N·high), N elements a scale. */
export function learnedStepQuantize(p: Program, x: Value, scale: Value, grid: QuantizerGrid): Value {
  const size = (v: Value): number => knownDims(v).reduce((a, b) => a * b, 1);
  const factor = 1 / Math.sqrt((size(x) / size(scale)) * grid.high);
  return fakeQuantize(p, x, scaleGradient(p, scale, factor), grid);
}
