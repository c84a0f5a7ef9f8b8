/** A graph being rewritten, and what is known in it: its own constants and types, and those of the graphs around it. */
import {
  describeNode,
  type GraphEditor,
  type Node,
  type StoredTensor,
  type TensorType,
} from '../onnx/index.js';
import { type Tensor } from '../tensor/index.js';

export interface Scope {
  readonly graph: GraphEditor;
  /** Version of the standard operator set. */
  readonly opset: number;
  /** True for a graph inside If, Loop or Scan. */
  readonly isSubgraph: boolean;
  /** A constant of this graph or of one around it. */
  constant(value: string): StoredTensor | undefined;
  /** Its elements; undefined for strings and unknown element types. */
  constantTensor(value: string): Tensor | undefined;
  /** Element type and shape of a value, as far as inferred. What a graph output is declared to be may be less or wrong. */
  type(value: string): TensorType | undefined;
}

export function createScope(graph: GraphEditor, opset: number, outer?: Scope): Scope {
  const declared = new Map<string, TensorType>();
  for (const { name, type } of [...graph.inputs, ...graph.valueInfo.values()])
    if (type !== undefined) declared.set(name, type);
  const isOwn = (value: string): boolean =>
    graph.producer(value) !== undefined || graph.initializers.has(value) || graph.isGraphInput(value);
  return {
    graph,
    opset,
    isSubgraph: outer !== undefined,
    constant: (value) => (isOwn(value) ? graph.constant(value) : outer?.constant(value)),
    constantTensor: (value) => (isOwn(value) ? graph.constantTensor(value) : outer?.constantTensor(value)),
    type: (value) => {
      const stored = graph.initializers.get(value);
      if (stored !== undefined) return { dtype: stored.dtype, dims: stored.dims };
      return declared.get(value) ?? outer?.type(value);
    },
  };
}

/** Why a value that only `reader` should see must stay: somebody else sees it too. */
export function otherReader(value: string, reader: Node, { graph }: Scope): string | undefined {
  if (graph.isGraphOutput(value)) return `'${value}' is a graph output`;
  const other = graph.consumers(value).find((node) => node !== reader);
  return other === undefined ? undefined : `'${value}' is also read by ${describeNode(other)}`;
}

/** Why a value is not a constant; undefined when it is one. */
export function notConstant(value: string, scope: Scope): string | undefined {
  if (scope.constantTensor(value) !== undefined) return undefined;
  if (scope.constant(value) !== undefined) return `'${value}' has an element type fxq cannot compute with`;
  const producer = scope.graph.producer(value);
  if (producer !== undefined) return `'${value}' is computed by ${describeNode(producer)}`;
  return `'${value}' is a graph input`;
}
