/** Filling one model input: reading, preprocessing, converting and stacking samples. */
import { FxqError } from '../core/index.js';
import { createArray, dtypeBits, sizeOf, type DType, type Tensor, type TypedArray } from '../tensor/index.js';
import { convertSample, isConvertible, requireFinite } from './convert.js';
import { fits, type ModelInput } from './inputs.js';
import { type Preprocess } from './preprocess.js';
import { describeSample, type SourceArray } from './source.js';
import { type Derivation } from './spec.js';

/** Makes the tensor of some samples for one input. `done` holds the inputs filled from arrays. */
export type Fill = (
  samples: readonly number[],
  done: ReadonlyMap<string, Tensor>,
) => Promise<Tensor> | Tensor;

/**
 * Fills an input from an array. Shapes and types are checked once when they are the same for all samples, else for each.
 *
 * @throws FxqError E_DATA naming the array and the input
 */
export function fillFromArray(
  input: ModelInput,
  array: SourceArray,
  preprocess: Preprocess | undefined,
): Fill {
  const outDims = (dims: readonly number[]): readonly number[] => preprocess?.dims(dims) ?? dims;
  checkType(input, array, preprocess);
  if (array.dims !== undefined) checkShape(input, array, outDims(array.dims), array.label);
  const fill = async (index: number): Promise<Tensor> => {
    const sample = await array.read(index);
    const what = describeSample(array, index);
    const dims = outDims(sample.dims);
    if (array.dims === undefined) checkShape(input, array, dims, what);
    const { dtype } = input;
    if (preprocess === undefined) return { dtype, dims, data: convertSample(sample, dtype, what) };
    const data = preprocessed(preprocess, sample, dims, what);
    // Preprocessed numbers are finite, so float32 needs no second look.
    return {
      dtype,
      dims,
      data: dtype === 'float32' ? data : convertSample({ dtype: 'float32', dims, data }, dtype, what),
    };
  };
  return async (samples) => {
    const parts: Tensor[] = [];
    for (const index of samples) parts.push(await fill(index));
    const [first] = parts;
    if (first === undefined) throw new FxqError('E_INTERNAL', 'internal: a batch of no samples');
    if (array.whole) return { ...first, data: owned(first.data) };
    return stack(
      input,
      first.dims,
      parts.map((p) => p.data),
    );
  };
}

function preprocessed(
  preprocess: Preprocess,
  sample: Tensor,
  dims: readonly number[],
  what: string,
): Float32Array {
  if (!(sample.data instanceof Uint8Array)) requireFinite(sample, what);
  const data = new Float32Array(sizeOf(dims));
  preprocess.apply(sample, data, 0);
  return data;
}

/** Samples are views into files and chunks; a feed must not change when the next one is read. */
function owned(data: TypedArray): TypedArray {
  return data.slice();
}

function checkType(input: ModelInput, array: SourceArray, preprocess: Preprocess | undefined): void {
  const from: DType = preprocess === undefined ? array.dtype : 'float32';
  if (isConvertible(from, input.dtype)) return;
  throw new FxqError(
    'E_DATA',
    `${array.label} holds ${array.dtype}, input '${input.name}' takes ${input.dtype}`,
    `Save the array as ${input.dtype}.`,
  );
}

function checkShape(input: ModelInput, array: SourceArray, dims: readonly number[], what: string): void {
  if (fits(input, dims, array.whole)) return;
  const shape = array.whole ? `[${dims.join(',')}]` : `[samples,${dims.join(',')}]`;
  throw new FxqError('E_DATA', `${what} has shape ${shape}, input '${input.name}' takes ${input.shape}`, [
    'Save the array with samples on its first axis, then the shape the model takes.',
    'Or declare preprocessing (size, stored, layout) or another sampleAxis; see docs/data.md.',
  ]);
}

/** Samples side by side along the sample axis. */
export function stack(input: ModelInput, dims: readonly number[], parts: readonly TypedArray[]): Tensor {
  const { dtype, sampleAxis: axis } = input;
  const [first] = parts;
  if (axis === undefined) return { dtype, dims, data: owned(first ?? createArray(dtype, 0)) };
  const inner = sizeOf(dims.slice(axis));
  const outer = sizeOf(dims.slice(0, axis));
  const data = createArray(dtype, parts.length * inner * outer);
  parts.forEach((part, i) => {
    for (let o = 0; o < outer; o++) {
      const block = part.subarray(o * inner, (o + 1) * inner);
      (data as { set(from: TypedArray, at: number): void }).set(block, (o * parts.length + i) * inner);
    }
  });
  return { dtype, dims: [...dims.slice(0, axis), parts.length, ...dims.slice(axis)], data };
}

/** The same number for every sample. */
export function fillWithValue(input: ModelInput, value: number): Fill {
  const dims = constantDims(input);
  const one = convertSample(
    { dtype: 'float64', dims, data: new Float64Array(sizeOf(dims)).fill(value) },
    input.dtype,
    `inputs.${input.name}.value`,
  );
  return (samples) =>
    stack(
      input,
      dims,
      samples.map(() => one),
    );
}

/** Shape of one sample of an input that no array fills: unknown sizes must be given. */
export function constantDims(input: ModelInput): number[] {
  return (input.sampleDims ?? []).map((size) => {
    if (size !== undefined) return size;
    throw new FxqError(
      'E_CONFIG',
      `input '${input.name}' is ${input.shape}; its unknown sizes are needed`,
      `Give one number for each: --sizes ${input.name}=N,N, or inputs.${input.name}.sizes.`,
    );
  });
}

type Rule = (value: number, index: number, width: number) => number;

/** What a derived input holds where the input it comes from holds `value`; `width` is the size of the last axis. */
const RULES = {
  nonzero: (value) => (value === 0 ? 0 : 1),
  ones: () => 1,
  zeros: () => 0,
  positions: (_value, index, width) => index % width,
} as const satisfies Record<Derivation['rule'], Rule>;

/** An input made from another one of the same shape. */
export function fillDerived(input: ModelInput, { rule, from }: Derivation): Fill {
  const apply: Rule = RULES[rule];
  return (_samples, done) => {
    const base = done.get(from);
    if (base === undefined) {
      throw new FxqError(
        'E_CONFIG',
        `inputs.${input.name} is derived from '${from}', which no array fills`,
        'Derive it from an input that has an array.',
      );
    }
    const width = base.dims[base.dims.length - 1] ?? 1;
    const values = Float64Array.from(base.data as ArrayLike<number | bigint>, (v, i) =>
      apply(Number(v), i, width),
    );
    const sample: Tensor = { dtype: 'float64', dims: base.dims, data: values };
    return {
      dtype: input.dtype,
      dims: base.dims,
      data: convertSample(sample, input.dtype, `derived '${input.name}'`),
    };
  };
}

/** The state before the first sample of a sequence. */
export function zeroState(input: ModelInput): Tensor {
  const dims = constantDims(input);
  return stack(input, dims, [createArray(input.dtype, sizeOf(dims))]);
}

/** Bytes one sample takes in a feed, where its shape is known; unknown sizes count as one. */
export function sampleBytes(input: ModelInput): number {
  return (sizeOf((input.sampleDims ?? []).map((d) => d ?? 1)) * dtypeBits(input.dtype)) / 8;
}
