/** What a block sees and should give, sample by sample: from walks through both models to stacked tensors. */
import { FxqError, required } from '../../core/index.js';
import { type Batch } from '../../engine/index.js';
import { type Dim } from '../../onnx/index.js';
import { createArray, sizeOf, type Tensor } from '../../tensor/index.js';

/** A value of all units, stacked along axis 0, and how one step of `n` units sees it. */
export interface Stacked {
  readonly all: Tensor;
}

/**
 * How samples are stacked. `rows`: axis 0 of every value counts samples, and any of them can be run together. `runs`: the
 * model fixes its batch, so whole runs are the units, one a step.
 */
export interface Units {
  readonly kind: 'rows' | 'runs';
  readonly count: number;
  /** Units before this one are for fitting, the others are held out. */
  readonly fit: number;
}

/**
 * The units that batches fall into.
 *
 * @param free       the model takes any number of samples
 * @param values     every value that will be stacked, one tensor a batch
 * @param fitBatches batches before this one are for fitting
 * @throws FxqError E_UNSUPPORTED when samples have different shapes
 */
export function chooseUnits(
  free: boolean,
  values: ReadonlyMap<string, readonly Tensor[]>,
  batches: readonly Batch[],
  fitBatches: number,
): Units {
  const rest = (t: Tensor): string => t.dims.slice(1).join();
  const each = [...values.values()];
  const byRows = each.every((tensors) =>
    tensors.every(
      (t, b) => t.dims[0] === batches[b]?.count && rest(t) === rest(required(tensors[0], 'a batch')),
    ),
  );
  if (free && byRows) {
    const rows = (from: number, to: number): number =>
      batches.slice(from, to).reduce((sum, b) => sum + b.count, 0);
    return { kind: 'rows', count: rows(0, batches.length), fit: rows(0, fitBatches) };
  }
  for (const [name, tensors] of values) {
    const shape = tensors[0]?.dims.join();
    if (tensors.every((t) => t.dims.join() === shape)) continue;
    throw new FxqError(
      'E_UNSUPPORTED',
      `blocks are learned from samples of one shape, but '${name}' has several`,
      'Give samples of one shape, or choose --solver descent.',
    );
  }
  return { kind: 'runs', count: batches.length, fit: fitBatches };
}

/** Batches of a value as one tensor, units along axis 0. */
export function stack({ kind, count }: Units, tensors: readonly Tensor[]): Tensor {
  const first = required(tensors[0], 'a batch');
  const dims = kind === 'rows' ? [count, ...first.dims.slice(1)] : [count, ...first.dims];
  const data = createArray(first.dtype, sizeOf(dims));
  let at = 0;
  for (const t of tensors) {
    (data as Float32Array).set(t.data as Float32Array, at);
    at += t.data.length;
  }
  return { dtype: first.dtype, dims, data };
}

/** Dimensions of a value in a step over `n` units. */
export function stepDims({ kind }: Units, stacked: Tensor, n: number): number[] {
  return kind === 'rows' ? [n, ...stacked.dims.slice(1)] : stacked.dims.slice(1);
}

/** Whether axis 0 of a model input is open. */
export function isOpen(dims: readonly Dim[] | undefined): boolean {
  return typeof dims?.[0] !== 'number';
}
