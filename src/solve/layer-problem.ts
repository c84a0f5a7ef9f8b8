/** From a planned weight to the problem solvers see, and from their answer back to codes in the model's layout. */
import { FxqError, required } from '../core/index.js';
import { parseFormat, raiseScale, type NumberFormat } from '../formats/index.js';
import { type Graph } from '../onnx/index.js';
import { isSymmetricWeight, type SolvedWeight, type WeightQuantization } from '../plan/index.js';
import { layerWeight, type WeightedLayer } from './layers.js';
import {
  dequantize,
  type LayerProblem,
  type LayerSolution,
  type Moments,
  type QuantizedMatrix,
  type ScaleSharing,
  type WeightGrid,
} from './problem.js';
import { codebookGrid, isCodebook, storedCodebook } from './codebook.js';
import { formatOf, powerLevels } from './power-grid.js';
import { TAKES_GAPS, type SolverName } from './solvers.js';
import { storedWords, vectorGrid } from './vector-grid.js';
import { fromMatrix, matrixSize, scaleLayout } from './weight-layout.js';

/** A layer's problem, and what is needed to put the answer back. */
export interface PlannedProblem {
  readonly layer: WeightedLayer;
  readonly problem: LayerProblem;
  /** Cell to index in the ONNX scale tensor. */
  readonly scaleIndex: Int32Array;
}

/** Formats of which solvers choose codes: integers with scales of their own, learned levels, and learned words. */
export function isSolvable(format: NumberFormat): boolean {
  const isInteger = format.integer && (format.scale === 'float' || format.scale === 'power-of-two');
  return isInteger || isCodebook(format) || format.vector !== undefined;
}

/** The codes of an integer format that leaves some integers out (sums of powers of two). */
function levelsOf({ low, high, encode }: NumberFormat): number[] {
  const all = Array.from({ length: high - low + 1 }, (_, i) => low + i);
  return all.filter((code) => encode(code) === code);
}

/** Formats whose levels are powers, with an exponent that may be learned. */
export function isPower({ family }: NumberFormat): boolean {
  return family === 'power';
}

/**
 * Refuses a solver that cannot choose codes of a format.
 *
 * @throws FxqError E_FORMAT
 */
export function checkSolver(solver: SolverName, name: string): void {
  const format = parseFormat(name);
  const power = isPower(format);
  const refuse = (why: string, fix: string): FxqError => new FxqError('E_FORMAT', why, fix);
  if (solver === 'nupes' && !power)
    throw refuse(`the solver nupes learns levels of power formats, not of ${name}`, 'Use --weights power4.');
  if (solver !== 'nupes' && power)
    throw refuse(
      `the solver ${solver} moves codes of integer formats, not of ${name}`,
      'Use --solver nupes or nearest.',
    );
  if (!power && !isSolvable(format))
    throw refuse(`weights in ${name} can only be rounded to nearest`, 'Use --solver nearest.');
  if (!power && !format.uniform && !TAKES_GAPS.has(solver))
    throw refuse(
      `${solver} rounds to all integers of a range, which are not the levels of ${name}`,
      `Use --solver ${[...TAKES_GAPS].join(' or ')}.`,
    );
}

/** The grid of a power format for given weights, which suggest the exponent where the name leaves it open. */
function powerGridOf(format: NumberFormat, weight: Float32Array, sharing: ScaleSharing): WeightGrid {
  const { low, high } = format;
  return { low, high, symmetric: true, power: powerLevels(format, weight, sharing) };
}

/** The grid of a format for given weights. */
function gridFor(format: NumberFormat, weight: Float32Array, sharing: ScaleSharing): WeightGrid {
  if (isPower(format)) return powerGridOf(format, weight, sharing);
  if (format.vector !== undefined) return vectorGrid(format.vector, weight, sharing);
  return isCodebook(format) ? codebookGrid(format, weight, sharing) : gridOf(format.name);
}

/** The grid of an integer format. */
export function gridOf(name: string): WeightGrid {
  const format = parseFormat(name);
  if (!format.uniform) {
    const levels = levelsOf(format);
    const [low = 0, high = 0] = [levels[0], levels.at(-1)];
    return {
      low,
      high,
      levels,
      symmetric: true,
      ...(format.scale === 'float' ? {} : { scale: 'power-of-two' }),
    };
  }
  const { low, high } = format;
  const symmetric = isSymmetricWeight(name);
  if (format.scale === 'float') return { low, high, symmetric };
  // A fixed-point format with its point in the name has one scale, whatever the range.
  const isFixed = format.scaleFor(1) === format.scaleFor(1024);
  return { low, high, symmetric, scale: isFixed ? format.scaleFor(1) : 'power-of-two' };
}

/**
 * The problem of one weight.
 *
 * @param freeBias whether the layer has a bias that can take a correction
 */
export function planProblem(
  graph: Graph,
  layer: WeightedLayer,
  quantization: WeightQuantization,
  moments: { readonly fit: Moments; readonly heldOut?: Moments | undefined },
  freeBias: boolean,
): PlannedProblem {
  const { rows, cols } = matrixSize(layer.layout);
  const { sharing, index } = scaleLayout(layer.layout, quantization.granularity);
  const least = quantization.minimumScale;
  const weight = layerWeight(graph, layer);
  const format = parseFormat(quantization.format);
  const given = quantization.scale.map((s, i) => raiseScale(format, s, least?.[i] ?? 0));
  const problem: LayerProblem = {
    name: layer.weight,
    rows,
    cols,
    groups: layer.layout.groups,
    weight,
    moments: moments.fit,
    ...(moments.heldOut === undefined ? {} : { heldOut: moments.heldOut }),
    freeBias,
    grid: gridFor(format, weight, sharing),
    sharing,
    ...(least === undefined ? {} : { minimumScale: Float64Array.from(index, (i) => least[i] ?? 0) }),
    ...(given.length === 0
      ? {}
      : { givenScale: Float64Array.from(index, (i) => required(given[i], layer.weight)) }),
  };
  return { layer, problem, scaleIndex: index };
}

/** Codes and scales as they are written: of learned tables, places in them and the tables themselves. */
function storedForm(
  { grid, cols }: LayerProblem,
  solution: LayerSolution,
): Pick<QuantizedMatrix, 'codes' | 'scale'> & { readonly levels?: ArrayLike<number> } {
  if (grid.words !== undefined) return storedWords(grid.words, solution, cols);
  if (grid.entries !== undefined) return storedCodebook(grid, solution);
  const { codes, scale } = solution;
  return { codes, scale };
}

/** Codes in the initializer's order, scales in that of the ONNX scale tensor. */
export function toSolvedWeight(
  { layer, problem, scaleIndex }: PlannedProblem,
  solution: LayerSolution,
): SolvedWeight {
  const { exponent } = solution;
  const stored = storedForm(problem, solution);
  const scale = new Float32Array(scaleIndex.length);
  const zeroPoint = new Int32Array(scaleIndex.length);
  scaleIndex.forEach((at, cell) => {
    scale[at] = stored.scale[cell] as number;
    zeroPoint[at] = solution.zeroPoint[cell] as number;
  });
  return {
    initializer: layer.weight,
    ...(exponent === undefined ? {} : { format: formatOf(problem, exponent).name }),
    ...(stored.levels === undefined ? {} : { levels: Float32Array.from(stored.levels) }),
    codes: fromMatrix(layer.layout, stored.codes),
    scale,
    zeroPoint,
  };
}

/** The real weights of a solution, in the initializer's order. */
export function realWeight({ layer, problem }: PlannedProblem, solution: LayerSolution): Float32Array {
  return fromMatrix(layer.layout, Float32Array.from(dequantize(problem, solution)));
}
