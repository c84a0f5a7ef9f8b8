/** A layer's quadratic as a tensor program: the loss that learned rounding descends, with every sample in each step. */
import { type Context } from '../../core/index.js';
import { createProgram, runProgram, type Program, type Value } from '../../program/index.js';
import { tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { type Matrices } from '../matrices.js';
import { dequantize, type LayerProblem, type QuantizedMatrix } from '../problem.js';
import { costAt, gradientAt, type Quadratic } from '../quadratic.js';
import { type CellParameters } from '../scales.js';

/** What solvers need of the outside. */
export interface SolverContext extends Pick<Context, 'rng' | 'threads'> {
  /** Products of matrices in the runtime; loops where there are none. */
  readonly matrices?: Matrices;
}

/** A program around one layer. Weights are [groups, outputs of a group, cols]. */
export interface GramProgram {
  readonly p: Program;
  /** w. */
  readonly weight: Value;
  /** 1 where a weight may be non-zero; undefined without a mask. */
  readonly mask: Value | undefined;
  /** Zero point of every weight. */
  readonly zero: Value;
  /** Starting scale of every cell, [cells]. */
  readonly scale: Value;
  /** The scale of every weight, from those of the cells. */
  spread(b: Program, scale: Value): Value;
  /** A tensor of the shape of the weights. */
  constant(data: ArrayLike<number>): Value;
  /** Cost of real weights, in units of what nearest rounding costs. */
  loss(b: Program, values: Value): Value;
}

/** Starts a program for a layer with given starting scales. */
export function startGramProgram(
  problem: LayerProblem,
  quadratic: Quadratic,
  nearest: QuantizedMatrix,
): GramProgram {
  const { rows, cols, groups, sharing, importance, mask } = problem;
  const p = createProgram();
  const shape = [groups, rows / groups, cols];
  const constant = (data: ArrayLike<number>): Value =>
    p.constant(tensor('float32', shape, Float32Array.from(data)));
  const gram = new Float32Array(groups * cols * cols);
  quadratic.gram.forEach((h, g) => gram.set(h, g * cols * cols));
  const h = p.constant(tensor('float32', [groups, cols, cols], gram));
  const weight = constant(problem.weight);
  const slope = quadratic.slope === undefined ? undefined : constant(quadratic.slope);
  const rowWeight = importance && p.constant(tensor('float32', [groups, rows / groups, 1], importance));
  const cells = Int32Array.from({ length: rows * cols }, (_, i) => {
    const [r, c] = [Math.floor(i / cols), i % cols];
    return (sharing.rowSet[r] as number) * sharing.blocks + (sharing.block[c] as number);
  });
  const cellIndex = p.constant(tensor('int64', shape, BigInt64Array.from(cells, BigInt)));
  const unit = 1 / Math.max(totalCost(problem, quadratic, nearest), Number.MIN_VALUE);
  const base = totalOf(quadratic.base, importance) * unit;
  return {
    p,
    weight,
    mask: mask === undefined ? undefined : constant(mask),
    zero: constant(cells.map((cell) => nearest.zeroPoint[cell] as number)),
    scale: p.constant(tensor('float32', [nearest.scale.length], Float32Array.from(nearest.scale))),
    spread: (b, scale) => b.gather(scale, cellIndex),
    constant,
    loss: (b, values) => {
      const d = b.sub(values, weight);
      const moved = b.matmul(d, h);
      const gradient = slope === undefined ? moved : b.add(moved, slope);
      const rowsOf = (v: Value): Value => (rowWeight === undefined ? v : b.mul(v, rowWeight));
      const both = slope === undefined ? gradient : b.add(gradient, slope);
      const cost = b.reduceSum(rowsOf(b.mul(d, both)));
      const loss = b.add(b.mul(cost, unit), base);
      // H is symmetric, so the derivative is 2(Hd + s): one product a step instead of three.
      return b.tape.setGradient(loss, {
        inputs: [values],
        rule: (g) => [b.mul(rowsOf(gradient), b.mul(g, 2 * unit))],
      });
    },
  };
}

/** Runs a program whose results are codes and scales. */
export async function runForCodes(
  { p }: GramProgram,
  results: { readonly codes: Value; readonly scale: Value },
  start: CellParameters,
  ctx: SolverContext,
): Promise<QuantizedMatrix> {
  const found = await runProgram<{ codes: Value; scale: Value }, { codes: Tensor; scale: Tensor }>(
    p,
    { codes: results.codes, scale: results.scale },
    {},
    { threads: ctx.threads },
  );
  return {
    codes: Int32Array.from(toFloat32(found.codes)),
    scale: Float64Array.from(toFloat32(found.scale)),
    zeroPoint: start.zeroPoint,
  };
}

function totalCost(problem: LayerProblem, quadratic: Quadratic, quantized: QuantizedMatrix): number {
  const values = dequantize(problem, quantized);
  const cost = costAt(problem, quadratic, values, gradientAt(problem, quadratic, values));
  return totalOf(cost, problem.importance);
}

function totalOf(rows: Float64Array, importance: Float32Array | undefined): number {
  return rows.reduce((sum, c, r) => sum + (importance?.[r] ?? 1) * c, 0);
}
