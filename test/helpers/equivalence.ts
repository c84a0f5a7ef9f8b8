/** Whether two models compute the same: both run in onnxruntime on the same seeded inputs. */
import { expect } from 'vitest';
import { createRng, type Rng } from '../../src/core/index.js';
import { openSession, type SessionOptions } from '../../src/engine/index.js';
import {
  feedInputs,
  formatModel,
  type Model,
  type TextOptions,
  type ValueInfo,
} from '../../src/onnx/index.js';
import { sizeOf, toFloat32, type DType, type Tensor } from '../../src/tensor/index.js';
import { fromNumbers } from './model.js';

export interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
}

/** For rewrites that must not change a single bit. */
export const EXACT: Tolerance = { atol: 0, rtol: 0 };

export interface InputOptions {
  readonly seed?: number;
  /** Sizes of symbolic dimensions; 2 where none is given, and for unknown dimensions. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Inputs given by the test instead of drawn. */
  readonly feeds?: Readonly<Record<string, Tensor>>;
}

/** Seeded inputs for a model: standard normal floats, whole numbers of 0 to 3, any booleans. */
export function randomFeeds(model: Model, options: InputOptions = {}): Record<string, Tensor> {
  const { seed = 1, dims = {}, feeds = {} } = options;
  const rng = createRng(seed);
  return Object.fromEntries(
    feedInputs(model.graph).map((input) => [
      input.name,
      feeds[input.name] ?? randomInput(input, rng.fork(input.name), dims),
    ]),
  );
}

function randomInput(input: ValueInfo, rng: Rng, sizes: Readonly<Record<string, number>>): Tensor {
  const { dtype, dims } = input.type ?? {};
  if (dtype === undefined || dtype === 'string' || dims === undefined)
    throw new Error(`input ${input.name} needs an element type and a rank, or a tensor in feeds`);
  const shape = dims.map((d) => (typeof d === 'number' ? d : (d !== null && sizes[d]) || 2));
  const element = drawElement(dtype, rng);
  return fromNumbers(dtype, shape, Array.from({ length: sizeOf(shape) }, element));
}

function drawElement(dtype: DType, rng: Rng): () => number {
  if (/float/.test(dtype)) return () => rng.normal();
  return dtype === 'bool' ? () => rng.below(2) : () => rng.below(4);
}

/** Outputs of a model as written (the runtime's own graph optimization off, unless `options` says otherwise). */
export async function runModel(
  model: Model,
  feeds: Readonly<Record<string, Tensor>>,
  options: SessionOptions = {},
): Promise<Map<string, Tensor>> {
  const session = await openSession(model, { optimization: 'none', threads: 1, ...options });
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

/** Expects the same outputs, by name, element type, shape and value, from both models on the same seeded inputs. */
export async function expectEquivalent(
  actual: Model,
  expected: Model,
  tolerance: Tolerance,
  options: InputOptions = {},
): Promise<void> {
  const feeds = randomFeeds(expected, options);
  const wanted = await runModel(expected, feeds);
  const got = await runModel(actual, feeds);
  expect(describe(got)).toEqual(describe(wanted));
  for (const [name, tensor] of wanted) {
    const other = got.get(name);
    if (other !== undefined) expect(values(other)).toBeAllclose(values(tensor), tolerance);
  }
}

function describe(outputs: ReadonlyMap<string, Tensor>): string[] {
  return [...outputs].map(([name, { dtype, dims }]) => `${name}: ${dtype}[${dims.join(',')}]`);
}

/** Numbers to compare; 64-bit integers are exact up to 2^53. */
function values(t: Tensor): ArrayLike<number> {
  if (t.dtype === 'float64') return t.data as Float64Array;
  return t.dtype === 'float16' || t.dtype === 'bfloat16' ? toFloat32(t) : Array.from(t.data, Number);
}

export interface Rewrite {
  /** The change under test. */
  readonly rewrite: (model: Model) => Model | Promise<Model>;
  readonly before: Model;
  /** The text the result must have; indentation common to all lines does not matter. */
  readonly after: string;
  readonly tolerance: Tolerance;
  readonly inputs?: InputOptions;
  readonly text?: TextOptions;
}

/** Expects a rewrite to give exactly the graph stated as text, and that graph to compute what the original did. */
export async function expectRewrite(test: Rewrite): Promise<Model> {
  const result = await test.rewrite(test.before);
  expect(formatModel(result, test.text)).toBe(dedent(test.after));
  await expectEquivalent(result, test.before, test.tolerance, test.inputs);
  return result;
}

/** Text without its surrounding blank lines and common indentation. */
export function dedent(text: string): string {
  const lines = text.replace(/^\s*\n|\s*$/g, '').split('\n');
  const depths = lines.filter((l) => l.trim() !== '').map((l) => l.length - l.trimStart().length);
  const common = Math.min(...depths);
  return lines.map((l) => l.slice(common)).join('\n');
}
