/** Round to nearest: the baseline every solver is held to, and the shared end of every solver. */
import { multiply } from './linear-algebra.js';
import { relativeErrors } from './measure.js';
import { nearestOnPowerGrid } from './power-grid.js';
import { dequantize, type LayerProblem, type LayerSolution, type QuantizedMatrix } from './problem.js';
import { biasFor, quadraticOf, type Product } from './quadratic.js';
import { fitScales, nearestCodes, type ScaleRule } from './scales.js';
import { nearestOnWords } from './vector-grid.js';

export interface NearestOptions {
  readonly scales: ScaleRule;
}

/** Nearest codes with scales by the given rule (least weight error by default). */
export function nearest(
  problem: LayerProblem,
  options: Partial<NearestOptions> = {},
  product: Product = multiply,
): Promise<LayerSolution> {
  const rule = options.scales ?? 'mse';
  if (rule === 'mse') {
    const codes = baseline(problem);
    return settle(problem, 'nearest', codes, codes, product);
  }
  const quadratic = quadraticOf(problem, 0);
  const codes = nearestCodes(problem, fitScales(problem, rule, quadratic));
  return settle(problem, 'nearest', codes, baseline(problem), product);
}

/** Nearest rounding with least-squares scales; with the exponent or the words that suit the weights best, where there are. */
export function baseline(problem: LayerProblem): QuantizedMatrix {
  const { power, words } = problem.grid;
  if (words !== undefined) return nearestOnWords(problem, words);
  if (power !== undefined) return nearestOnPowerGrid(problem, power);
  return nearestCodes(problem, fitScales(problem, 'mse'));
}

/**
 * The solution for codes a solver found: errors beside those of nearest, the bias correction, and nearest itself when
 * the codes are no better on the layer's own objective.
 */
export async function settle(
  problem: LayerProblem,
  solver: string,
  found: QuantizedMatrix,
  nearestMatrix: QuantizedMatrix = baseline(problem),
  product: Product = multiply,
): Promise<LayerSolution> {
  const [own, reference] = [found, nearestMatrix].map((quantized) => {
    const values = dequantize(problem, quantized);
    return { values, bias: problem.freeBias ? biasFor(problem, values) : undefined };
  }) as [{ bias?: Float64Array; values: Float64Array }, { bias?: Float64Array; values: Float64Array }];
  const measure = (moments: LayerProblem['moments']): Promise<number[]> =>
    relativeErrors(problem, moments, [own, reference], product);
  const [fit = 0, fitNearest = 0] = await measure(problem.moments);
  const [heldOut, heldOutNearest] = problem.heldOut === undefined ? [] : await measure(problem.heldOut);
  const fellBack = found !== nearestMatrix && !(fit < fitNearest);
  const kept = fellBack ? { ...nearestMatrix, ...reference } : { ...found, ...own };
  const keptHeldOut = fellBack ? heldOutNearest : heldOut;
  return {
    solver,
    codes: kept.codes,
    scale: kept.scale,
    zeroPoint: kept.zeroPoint,
    ...(kept.exponent === undefined ? {} : { exponent: kept.exponent }),
    ...(kept.levels === undefined ? {} : { levels: kept.levels }),
    ...(kept.bias === undefined ? {} : { biasCorrection: kept.bias }),
    error: {
      nearest: fitNearest,
      fit: fellBack ? fitNearest : fit,
      ...(keptHeldOut === undefined ? {} : { heldOut: keptHeldOut }),
      ...(heldOutNearest === undefined ? {} : { heldOutNearest }),
    },
    fellBack,
  };
}
