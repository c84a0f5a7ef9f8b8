/** Model inputs as data sees them: where samples are stacked, and what one sample looks like. */
import { FxqError } from '../core/index.js';
import { type Dim, type ValueInfo } from '../onnx/index.js';
import { type DType } from '../tensor/index.js';
import { type InputSpec } from './spec.js';

export interface ModelInput {
  readonly name: string;
  readonly dtype: DType;
  /** Axis along which samples are stacked; undefined when the input takes one sample as it is. */
  readonly sampleAxis: number | undefined;
  /** Number of samples the model fixes. */
  readonly fixedBatch: number | undefined;
  /** Shape of one sample, unknown sizes undefined; undefined when even the rank is unknown. */
  readonly sampleDims: readonly (number | undefined)[] | undefined;
  /** Shape as the model declares it, for messages: `float32[N,3,32,32]`. */
  readonly shape: string;
}

/**
 * Describes a declared input, with the sizes that the data say it has.
 *
 * @throws FxqError E_UNSUPPORTED for inputs that are no numeric tensors, E_CONFIG for a sample axis it does not have or
 *   more sizes than it leaves open
 */
export function modelInput(value: ValueInfo, spec: InputSpec = {}): ModelInput {
  const { name, type } = value;
  const dtype = type?.dtype;
  if (dtype === undefined || dtype === 'string') {
    throw new FxqError(
      'E_UNSUPPORTED',
      `input '${name}' is ${dtype === 'string' ? 'text' : 'no tensor of a known element type'}; fxq feeds numbers`,
      'Cut the model behind the part that takes it.',
    );
  }
  const dims = type?.dims;
  const declared = describeShape(dtype, dims);
  const axis = sampleAxis(name, dims, spec.sampleAxis, declared);
  const sized = dims === undefined ? undefined : withSizes(name, dims, axis, spec.sizes, declared);
  const batch = axis === undefined ? undefined : dims?.[axis];
  return {
    name,
    dtype,
    sampleAxis: axis,
    fixedBatch: typeof batch === 'number' ? batch : undefined,
    sampleDims: sized?.filter((_, i) => i !== axis).map((d) => (typeof d === 'number' ? d : undefined)),
    shape: describeShape(dtype, sized),
  };
}

function describeShape(dtype: DType, dims: readonly Dim[] | undefined): string {
  return dims === undefined ? `${dtype}[?]` : `${dtype}[${dims.map((d) => d ?? '?').join(',')}]`;
}

/** The sizes that a model leaves open, taken in order from those that are given. */
function withSizes(
  name: string,
  dims: readonly Dim[],
  axis: number | undefined,
  sizes: readonly number[] = [],
  declared: string,
): Dim[] {
  const open = dims.filter((d, i) => i !== axis && typeof d !== 'number').length;
  if (sizes.length > open)
    throw new FxqError(
      'E_CONFIG',
      `input '${name}' is ${declared} and leaves ${open} sizes open, but ${sizes.length} are given`,
      `Give one number for each: --sizes ${name}=N,N, or inputs.${name}.sizes.`,
    );
  const given = [...sizes];
  return dims.map((d, i) => (i === axis || typeof d === 'number' ? d : (given.shift() ?? d)));
}

function sampleAxis(
  name: string,
  dims: readonly Dim[] | undefined,
  given: number | 'none' | undefined,
  shape: string,
): number | undefined {
  if (given === 'none' || dims?.length === 0) return undefined;
  const axis = given ?? 0;
  if (dims !== undefined && (axis < 0 || axis >= dims.length)) {
    throw new FxqError(
      'E_CONFIG',
      `inputs.${name}.sampleAxis is ${axis}, but the input is ${shape}`,
      `Give an axis from 0 to ${dims.length - 1}, or none.`,
    );
  }
  return axis;
}

/**
 * Whether samples of this shape fit the input.
 *
 * @param whole the sample axis is part of the shape
 */
export function fits(input: ModelInput, dims: readonly number[], whole: boolean): boolean {
  const { sampleDims, sampleAxis: axis, fixedBatch } = input;
  if (sampleDims === undefined) return true;
  const sample = whole && axis !== undefined ? dims.filter((_, i) => i !== axis) : dims;
  const batch = whole && axis !== undefined ? dims[axis] : undefined;
  return (
    sample.length === sampleDims.length &&
    sample.every((d, i) => sampleDims[i] === undefined || sampleDims[i] === d) &&
    (batch === undefined || fixedBatch === undefined || batch === fixedBatch)
  );
}
