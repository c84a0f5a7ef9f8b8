/**
 * The check every gradient rule passes: reverse mode against central differences at several seeded points, and against a
 * closed form where there is one.
 */
import { expect } from 'vitest';
import { createRng, type Rng } from '../../src/core/index.js';
import { type AttributeInput } from '../../src/onnx/index.js';
import { createProgram, openProgram, pullBack, type Program, type Value } from '../../src/program/index.js';
import { sizeOf, tensor, type DType, type Tensor } from '../../src/tensor/index.js';

/** How the elements of an input are drawn. */
export type Draw = (rng: Rng, count: number) => number[];

/** Standard normal. */
export const normal: Draw = (rng, count) => Array.from({ length: count }, () => rng.normal());

/** Between 0.5 and 2: for logarithms, roots and divisors. */
export const positive: Draw = (rng, count) => Array.from({ length: count }, () => 0.5 + 1.5 * rng.uniform());

/** Shuffled multiples of 0.2, none near 0, ±3 or each other: for functions with kinks and ties. */
export const spaced: Draw = (rng, count) =>
  rng.shuffle(Array.from({ length: count }, (_, i) => 0.1 + 0.2 * (i - Math.floor(count / 2))));

export interface GradientCase {
  /** Distribution of every input, or of each. */
  readonly draw?: Draw | readonly Draw[];
  /** float64 where the runtime has the kernel: differences are then exact to about 1e-9. */
  readonly dtype?: 'float32' | 'float64';
  /** Inputs to differentiate; all by default. */
  readonly by?: readonly number[];
  /** Expected gradients of some inputs: from the inputs and the gradient of the output. */
  readonly closedForm?: (
    inputs: readonly Float64Array[],
    g: Float64Array,
  ) => readonly (ArrayLike<number> | undefined)[];
  readonly points?: number;
}

/**
 * Tolerances by element type. float32 outputs carry a relative error of about 1e-7, which a fourth-order difference of
 * step 0.02 divides by that step: 1e-5 per element, times the sum over elements.
 */
const PRECISION = {
  float32: { step: 0.02, atol: 3e-4, rtol: 3e-4, exact: 3e-5 },
  float64: { step: 0.002, atol: 1e-8, rtol: 1e-8, exact: 1e-12 },
} as const;

/**
 * Checks the gradients of `build(p, …inputs)`, whose value is projected on a random direction so that every element of
 * the output matters.
 */
export async function expectGradient(
  build: (p: Program, ...inputs: Value[]) => Value,
  shapes: readonly (readonly number[])[],
  options: GradientCase = {},
): Promise<void> {
  const { dtype = 'float32', draw = normal, closedForm, points = 2 } = options;
  const by = options.by ?? shapes.map((_, i) => i);
  const { step, atol, rtol, exact } = PRECISION[dtype];

  const p = createProgram();
  const inputs = shapes.map((dims, i) => p.input(`x${i}`, dtype, dims));
  const y = build(p, ...inputs);
  const g = p.input('g', dtype, y.dims ?? []);
  const targets = by.map((i) => inputs[i] as Value);
  const program = await openProgram(p, { y, gradients: pullBack(p, [[y, g]], targets) });

  const rng = createRng(7);
  for (let point = 0; point < points; point++) {
    const values = shapes.map((dims, i) => {
      const drawOne = typeof draw === 'function' ? draw : (draw[i] ?? normal);
      return Float64Array.from(drawOne(rng, sizeOf(dims)));
    });
    const feeds = (): Record<string, Tensor> =>
      Object.fromEntries(shapes.map((dims, i) => [`x${i}`, typed(dtype, dims, values[i] as Float64Array)]));
    const shape = (y.dims ?? []) as number[];
    const direction = Float64Array.from(normal(rng, sizeOf(shape)));
    const run = () => program.run({ ...feeds(), g: typed(dtype, shape, direction) });
    const project = async (): Promise<number> =>
      Array.from((await run()).y.data as Float64Array).reduce(
        (sum, v, i) => sum + v * (direction[i] ?? 0),
        0,
      );

    const result = await run();
    const expected = closedForm?.(values, direction);
    for (const [k, i] of by.entries()) {
      const actual = result.gradients[k] as Tensor;
      expect(actual.dims, `shape of the gradient of input ${i}`).toEqual(shapes[i]);
      const form = expected?.[i];
      if (form !== undefined)
        expect(actual.data as Float64Array).toBeAllclose(form, { atol: exact, rtol: exact });
      const x = values[i] as Float64Array;
      const differences = new Float64Array(x.length);
      for (let j = 0; j < x.length; j++) {
        const at = x[j] as number;
        const sample = async (offset: number): Promise<number> => {
          x[j] = at + offset;
          return project();
        };
        // Fourth-order central difference.
        const near = (await sample(step)) - (await sample(-step));
        const far = (await sample(2 * step)) - (await sample(-2 * step));
        differences[j] = (8 * near - far) / (12 * step);
        x[j] = at;
      }
      expect(actual.data as Float64Array, `gradient of input ${i}`).toBeAllclose(differences, { atol, rtol });
    }
  }
  await program.release();
}

function typed(dtype: DType, dims: readonly number[], values: Float64Array): Tensor {
  return tensor(dtype, dims, dtype === 'float32' ? Float32Array.from(values) : Float64Array.from(values));
}

/** A node of an operator that has no method, or with attributes its method does not offer. */
export function node(
  p: Program,
  opType: string,
  inputs: readonly (Value | undefined)[],
  dims: readonly number[],
  attributes: Record<string, AttributeInput> = {},
): Value {
  return p.tape.op(
    opType,
    inputs,
    { dtype: inputs.find((v) => v !== undefined)?.dtype ?? 'float32', dims },
    attributes,
  );
}

/** An operator on x with all sizes from `axis` on hidden before running, its result declared again. */
export function unknownSize(
  p: Program,
  x: Value,
  op: (x: Value) => Value,
  dims: readonly number[],
  axis = 2,
): Value {
  const hidden = (x.dims ?? []).map((d, i) => (i < axis ? d : null));
  const y = op(p.tape.op('Identity', [x], { dtype: x.dtype, dims: hidden }));
  return p.tape.op('Identity', [y], { dtype: x.dtype, dims });
}
