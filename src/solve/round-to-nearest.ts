/** Rounding to nearest for every weight of a plan: no data needed, the baseline all solvers are measured against. */
import { FxqError, createRng, required } from '../core/index.js';
import {
  WHOLE_TENSOR,
  byBlock,
  byChannel,
  fitTensor,
  quantize,
  raiseScale,
  storedFormat,
  type FitMethod,
  type FixedFormat,
  type GroupParameters,
  type Grouping,
  type NumberFormat,
} from '../formats/index.js';
import { everyConstant, loadTensor, type Graph } from '../onnx/index.js';
import {
  chosenFormat,
  isSymmetricWeight,
  type Granularity,
  type Plan,
  type SolvedWeight,
  type WeightQuantization,
} from '../plan/index.js';
import { toFloat32, type Tensor } from '../tensor/index.js';
import { roundVectors } from './round-vectors.js';

/**
 * Codes of all weights of a plan, each rounded to the nearest level.
 *
 * @param plan   weights with scales keep them, those without get theirs by `method`
 * @param method `range` covers the largest weight, `mse` clips where that lowers the squared error
 * @param seed   of weights whose rounding is `stochastic`: up or down with a chance that grows with the distance
 */
export function roundToNearest(
  graph: Graph,
  plan: Plan,
  method: FitMethod,
  seed = 0,
): Map<string, SolvedWeight> {
  const solved = new Map<string, SolvedWeight>();
  const constants = everyConstant(graph);
  for (const weight of Object.values(plan.weights)) {
    const { initializer } = weight;
    const stored = required(constants.get(initializer), `initializer ${initializer}`);
    solved.set(initializer, roundWeight(weight, loadTensor(stored, initializer), method, seed));
  }
  return solved;
}

/** Codes of one weight of a plan, each rounded to the nearest level or vector of levels. */
export function roundWeight(
  weight: WeightQuantization,
  stored: Tensor,
  method: FitMethod,
  seed = 0,
): SolvedWeight {
  const { initializer, format: name, granularity, minimumScale = [] } = weight;
  const values = toFloat32(stored);
  const format = storedFormat(name, weight.levels);
  const grouping = groupingOf(granularity, stored.dims);
  const given = givenParameters(weight);
  if (format.vector !== undefined) {
    const { vector } = format;
    if (weight.solver === STOCHASTIC) throw notRounded(format, initializer);
    return roundVectors(weight, { ...format, vector }, values, stored.dims, grouping, method, given);
  }
  const { format: settled, ...fitted } =
    given === undefined
      ? fitTensor(format, values, grouping, { method, symmetric: isSymmetricWeight(name) })
      : { format, ...given };
  const parameters = {
    ...fitted,
    scale: fitted.scale.map((s, i) => raiseScale(settled, s, minimumScale[i] ?? 0)),
  };
  const dither = weight.solver === STOCHASTIC ? ditherFor(settled, initializer, seed) : undefined;
  const { codes, scale, zeroPoint } = quantize(settled, values, grouping, parameters, dither);
  return { initializer, ...chosenFormat(format, settled), codes, scale, zeroPoint };
}

/** Rounding that is right on average: the expected value of a code is the weight. */
export const STOCHASTIC = 'stochastic';

/** @throws FxqError E_FORMAT for formats whose codes are not nearest integers of a range */
function ditherFor(format: NumberFormat, initializer: string, seed: number): () => number {
  const { rounding = 'AP_RND_CONV' } = format as Partial<FixedFormat>;
  if (!format.integer || !format.uniform || rounding !== 'AP_RND_CONV') throw notRounded(format, initializer);
  const rng = createRng(seed).fork(`stochastic ${initializer}`);
  return () => rng.uniform() - 0.5;
}

function notRounded({ name }: NumberFormat, initializer: string): FxqError {
  return new FxqError(
    'E_FORMAT',
    `'${initializer}' has format ${name}, which is not rounded to the nearest integer of a range`,
    'Choose an integer or fixed-point format, or --solver nearest.',
  );
}

/** Scales that the plan has already, learned binary points for example. */
function givenParameters({ scale, zeroPoint }: WeightQuantization): GroupParameters | undefined {
  if (scale.length === 0) return undefined;
  return { scale: Float32Array.from(scale), zeroPoint: Int32Array.from(scale, (_, i) => zeroPoint[i] ?? 0) };
}

/** Which elements share a scale under a granularity, numbered as ONNX numbers scales. */
export function groupingOf(granularity: Granularity, dims: readonly number[]): Grouping {
  switch (granularity.kind) {
    case 'tensor':
      return WHOLE_TENSOR;
    case 'channel':
      return byChannel(dims, granularity.axis);
    case 'block':
      return byBlock(dims, granularity.axis, granularity.size);
  }
}
