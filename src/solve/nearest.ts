/** Round to nearest: the baseline every solver is held to, and the shared end of every solver. */
import {
  dequantize,
  type LayerError,
  type LayerProblem,
  type LayerSolution,
  type QuantizedMatrix,
} from './problem.js';
import { biasFor, quadraticOf, relativeErrorOf } from './quadratic.js';
import { fitScales, nearestCodes, type ScaleRule } from './scales.js';

export interface NearestOptions {
  readonly scales: ScaleRule;
}

/** Nearest codes with scales by the given rule (least weight error by default). */
export function nearest(problem: LayerProblem, options: Partial<NearestOptions> = {}): LayerSolution {
  const rule = options.scales ?? 'mse';
  const codes = nearestCodes(problem, fitScales(problem, rule, quadraticOf(problem, 0)));
  return settle(problem, 'nearest', codes, rule === 'mse' ? codes : baseline(problem));
}

/** Nearest rounding with least-squares scales. */
export function baseline(problem: LayerProblem): QuantizedMatrix {
  return nearestCodes(problem, fitScales(problem, 'mse', quadraticOf(problem, 0)));
}

/**
 * The solution for codes a solver found: errors beside those of nearest, the bias correction, and nearest itself when
 * the codes are no better on the layer's own objective.
 */
export function settle(
  problem: LayerProblem,
  solver: string,
  found: QuantizedMatrix,
  nearestMatrix: QuantizedMatrix = baseline(problem),
): LayerSolution {
  const reference = measure(problem, nearestMatrix);
  const own = found === nearestMatrix ? reference : measure(problem, found);
  const fellBack = found !== nearestMatrix && !(own.fit < reference.fit);
  const kept = fellBack ? reference : own;
  const error: LayerError = {
    nearest: reference.fit,
    fit: kept.fit,
    ...(kept.heldOut === undefined ? {} : { heldOut: kept.heldOut }),
    ...(reference.heldOut === undefined ? {} : { heldOutNearest: reference.heldOut }),
  };
  return {
    solver,
    ...(fellBack ? nearestMatrix : found),
    ...(kept.bias === undefined ? {} : { biasCorrection: kept.bias }),
    error,
    fellBack,
  };
}

function measure(
  problem: LayerProblem,
  quantized: QuantizedMatrix,
): { fit: number; heldOut?: number; bias?: Float64Array } {
  const values = dequantize(problem, quantized);
  const bias = problem.freeBias ? biasFor(problem, values) : undefined;
  const fit = relativeErrorOf(problem, problem.moments, values, bias);
  return {
    fit,
    ...(problem.heldOut === undefined
      ? {}
      : { heldOut: relativeErrorOf(problem, problem.heldOut, values, bias) }),
    ...(bias === undefined ? {} : { bias }),
  };
}
