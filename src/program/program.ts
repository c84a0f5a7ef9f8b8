/** The builder: one object with an operator a method, recording ONNX nodes as it is called. */
import { type Dim } from '../onnx/index.js';
import { tensor, type DType, type Tensor } from '../tensor/index.js';
import { elementwiseOps } from './ops/elementwise.js';
import { matrixOps } from './ops/matrix.js';
import { movementOps } from './ops/movement.js';
import { normalizationOps } from './ops/normalization.js';
import { reductionOps } from './ops/reduction.js';
import { Tape } from './tape.js';
import { mapTree, type MapTree, type Tree } from './tree.js';
import { type Operand, type Value } from './value.js';

interface Sources {
  /** The record behind the builder, for rules and compilation. */
  readonly tape: Tape;
  /** Declares an input; dimensions may be symbolic. */
  input(name: string, dtype: DType, dims: readonly Dim[]): Value;
  /** Declares one input per tensor of a tree, named by its path below `name`. */
  inputs<T extends Tree<Tensor>>(name: string, like: T): MapTree<T, Value>;
  /** A tensor stored with the program. */
  constant(value: Tensor): Value;
  /** A stored scalar. */
  scalar(value: number, dtype?: DType): Value;
  /** A number as a stored scalar; a value as it is. */
  operand(value: Operand, dtype?: DType): Value;
  /** A stored float32 vector. */
  vector(values: readonly number[]): Value;
}

/** Builds a tensor program: `p.matmul(a, b)` records a node and returns a handle to its result. */
export interface Program
  extends
    Sources,
    ReturnType<typeof elementwiseOps>,
    ReturnType<typeof matrixOps>,
    ReturnType<typeof movementOps>,
    ReturnType<typeof normalizationOps>,
    ReturnType<typeof reductionOps> {}

/**
 * Starts an empty program.
 *
 * @example
 * const p = createProgram();
 * const x = p.input('x', 'float32', ['N', 3]);
 * const y = p.relu(p.matmul(x, p.constant(weights)));
 * const program = await openProgram(p, { y });
 * const { y: result } = await program.run({ x: samples });
 */
export function createProgram(): Program {
  return programOn(new Tape());
}

/** A builder that records on a given tape: the body of a loop, for instance. */
export function programOn(tape: Tape): Program {
  return {
    tape,
    input: (name, dtype, dims) => tape.input(name, dtype, dims),
    inputs: <T extends Tree<Tensor>>(name: string, like: T) =>
      mapTree<Tensor, Value>(like, isTensor, (leaf, path) =>
        tape.input(path === '' ? name : `${name}.${path}`, leaf.dtype, leaf.dims),
      ) as MapTree<T, Value>,
    constant: (value) => tape.constant(value),
    scalar: (value, dtype = 'float32') => tape.scalar(value, dtype),
    operand: (value, dtype = 'float32') => tape.operand(value, dtype),
    vector: (values) => tape.constant(tensor('float32', [values.length], values)),
    ...elementwiseOps(tape),
    ...matrixOps(tape),
    ...movementOps(tape),
    ...normalizationOps(tape),
    ...reductionOps(tape),
  };
}

export function isTensor(node: unknown): node is Tensor {
  return typeof node === 'object' && node !== null && 'data' in node && 'dims' in node;
}

export function isValue(node: unknown): node is Value {
  return typeof node === 'object' && node !== null && 'name' in node && 'dtype' in node;
}

/** The tensors of a tree by the names of the inputs that {@link Program.inputs} declares for them. */
export function feedsOf(name: string, tree: Tree<Tensor>): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  mapTree<Tensor, void>(tree, isTensor, (leaf, path) => {
    feeds[path === '' ? name : `${name}.${path}`] = leaf;
  });
  return feeds;
}
