/** Power grids: exponent and scales that suit the weights, and the nearest codes on them. */
import { fitParameters, fitTensor, powerFormat, type NumberFormat } from '../formats/index.js';
import {
  cellGrouping,
  type LayerProblem,
  type PowerLevels,
  type QuantizedMatrix,
  type ScaleSharing,
} from './problem.js';

/** Exponents a power grid may have: the range of the search, and some room for learning beyond it. */
export const EXPONENTS = { low: 0.25, high: 1.5 } as const;

/** Exponents are kept with as many decimals as the names of formats write. */
export function roundExponent(a: number): number {
  return Number(a.toFixed(4));
}

/** The power format of a grid with a given exponent. */
export function formatOf({ grid }: Pick<LayerProblem, 'grid'>, exponent: number): NumberFormat {
  return powerFormat(Math.log2(grid.high + 1) + 1, exponent);
}

/**
 * Exponent of a power format for a matrix of weights: the one in its name, or the one with the least squared error at
 * clipped scales.
 */
export function powerLevels(format: NumberFormat, weight: Float32Array, sharing: ScaleSharing): PowerLevels {
  if (format.exponent !== undefined) return { exponent: format.exponent, free: false };
  const fitted = fitTensor(format, weight, cellGrouping(sharing), { method: 'mse', symmetric: true });
  return { exponent: fitted.format.exponent ?? 1, free: true };
}

/** Nearest codes on a power grid with its starting exponent, at clipped scales of least squared error. */
export function nearestOnPowerGrid(problem: LayerProblem, { exponent }: PowerLevels): QuantizedMatrix {
  const { weight, sharing, minimumScale, mask } = problem;
  const format = formatOf(problem, exponent);
  const { of } = cellGrouping(sharing);
  const cells = Int32Array.from(weight, (_, i) => of(i));
  const values = Array.from({ length: sharing.sets * sharing.blocks }, (): number[] => []);
  cells.forEach((cell, i) => values[cell]?.push(weight[i] as number));
  const scale = Float64Array.from(values, (own, cell) => {
    const fit = fitParameters(format, { values: own }, { method: 'mse', symmetric: true });
    return Math.max(fit.scale, minimumScale?.[cell] ?? 0);
  });
  const codes = Int32Array.from(cells, (cell, i) =>
    mask?.[i] === 0 ? 0 : format.encode((weight[i] as number) / (scale[cell] as number)),
  );
  return { codes, scale, zeroPoint: new Int32Array(scale.length), exponent };
}
