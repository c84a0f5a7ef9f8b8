/** Multiplications of a node, from the shapes of its operands: what every arithmetic cost is a multiple of. */
import { intAttribute, stringAttribute, type Dim, type Node, type TensorType } from '../../onnx/index.js';

/** Shapes by value name, and sizes for symbolic dimensions. */
export interface Shapes {
  readonly types: ReadonlyMap<string, TensorType>;
  /** Sizes of named dimensions; 1 where none is given, so that work is counted for one sample. */
  readonly sizes?: Readonly<Record<string, number>>;
}

type Count = (node: Node, dims: (index: number, of?: 'outputs') => readonly number[]) => number;

const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);
const last = (dims: readonly number[], back = 1): number => dims[dims.length - back] ?? 1;

/** Every output element sums over the kernel and the channels of its group: weight [M, C/g, k…]. */
const conv: Count = (_, dims) => product(dims(0, 'outputs')) * product(dims(1).slice(1));

/** Every input element meets the kernel and the output channels of its group: weight [C, M/g, k…]. */
const convTranspose: Count = (_, dims) => product(dims(0)) * product(dims(1).slice(1));

const gemm: Count = (node, dims) =>
  product(dims(0, 'outputs')) * (intAttribute(node, 'transA', 0) === 0 ? last(dims(0)) : last(dims(0), 2));

const matMul: Count = (_, dims) => product(dims(0, 'outputs')) * last(dims(0));

/** Steps × batch × rows of W and R, all directions: W [directions, gates·hidden, input], R [directions, gates·hidden, hidden]. */
const recurrent: Count = (_, dims) => {
  const [steps = 1, batch = 1] = dims(0);
  return steps * batch * (product(dims(1)) + product(dims(2)));
};

/** `ij,jk->ik`: the product of all index sizes. */
const einsum: Count = (node, dims) => {
  const sizes = new Map<string, number>();
  const [operands = ''] = stringAttribute(node, 'equation', '').replace(/\s/g, '').split('->');
  operands.split(',').forEach((labels, i) => {
    const shape = dims(i);
    [...labels.replace('...', '')].forEach((label, axis) => sizes.set(label, shape[axis] ?? 1));
  });
  return product([...sizes.values()]);
};

/** Operators that multiply matrices; everything else counts as none. */
const COUNTS: Readonly<Record<string, Count>> = {
  Conv: conv,
  ConvTranspose: convTranspose,
  DeformConv: conv,
  Einsum: einsum,
  GRU: recurrent,
  Gemm: gemm,
  LSTM: recurrent,
  MatMul: matMul,
  RNN: recurrent,
};

/** Multiply-accumulate operations of one node; 0 for operators that multiply no matrices. */
export function countMacs(node: Node, { types, sizes = {} }: Shapes): number {
  const count = node.domain === '' ? COUNTS[node.opType] : undefined;
  const size = (d: Dim): number => (typeof d === 'number' ? d : d === null ? 1 : (sizes[d] ?? 1));
  return (
    count?.(node, (index, of) => {
      const names = of === 'outputs' ? node.outputs : node.inputs;
      return (types.get(names[index] ?? '')?.dims ?? []).map(size);
    }) ?? 0
  );
}
