/** Labels of a data set: what each sample should give. */
import { FxqError, readInput } from '../core/index.js';
import { createArray, readNpy, readNpz, sizeOf, type Tensor, type TypedArray } from '../tensor/index.js';
import { type DataSet } from './data-set.js';

/** Numbers with samples on the first axis, or one line of text a sample. */
export type Labels = Tensor | readonly string[];

/** Array of an archive that holds labels, when it has several. */
const LABEL_NAMES = ['labels', 'label', 'y', 'targets'];

/**
 * Reads labels for the samples of a data set, in their order: `.npy`, `.npz` (its only array, or the one called labels,
 * label, y or targets), or text with one line a sample.
 *
 * @throws FxqError E_LABELS when there are not as many labels as rows in the source of the data
 */
export function readLabels(path: string, data: Pick<DataSet, 'rows' | 'sourceRows'>): Labels {
  const content = readInput(path, 'labels');
  const labels = path.endsWith('.npy')
    ? readNpy(content, path)
    : path.endsWith('.npz')
      ? labelArray(readNpz(content, path), path)
      : content
          .toString('utf8')
          .replace(/\r?\n$/, '')
          .split(/\r?\n/);
  const count = isText(labels) ? labels.length : (labels.dims[0] ?? 0);
  if (count !== data.sourceRows) {
    throw new FxqError(
      'E_LABELS',
      `${path} holds ${count} labels, the data has ${data.sourceRows} samples`,
      'Give one label for every sample of the data file, also when only some rows are used.',
    );
  }
  return selectLabels(labels, data.rows);
}

function labelArray(arrays: ReadonlyMap<string, Tensor>, path: string): Tensor {
  const name = arrays.size === 1 ? [...arrays.keys()][0] : LABEL_NAMES.find((n) => arrays.has(n));
  const found = name === undefined ? undefined : arrays.get(name);
  if (found !== undefined) return found;
  throw new FxqError(
    'E_LABELS',
    `${path} has several arrays (${[...arrays.keys()].join(', ')}), none of them called ${LABEL_NAMES.join(', ')}`,
    'Give the labels in a file of their own.',
  );
}

function isText(labels: Labels): labels is readonly string[] {
  return Array.isArray(labels);
}

/** The labels at some positions. */
export function selectLabels(labels: Labels, positions: readonly number[]): Labels {
  if (isText(labels)) return positions.map((i) => labels[i] ?? '');
  const { dtype, data } = labels;
  const dims = labels.dims.slice(1);
  const width = sizeOf(dims);
  const selected = createArray(dtype, positions.length * width) as {
    set(from: TypedArray, at: number): void;
  };
  positions.forEach((from, to) => selected.set(data.subarray(from * width, (from + 1) * width), to * width));
  return { dtype, dims: [positions.length, ...dims], data: selected as TypedArray };
}
