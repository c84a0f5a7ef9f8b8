/** Replaces nodes that read only constants with their values, computed in one run of onnxruntime. */
import { type Context } from '../../core/index.js';
import { openSession, withOutputs } from '../../engine/index.js';
import {
  operatorFacts,
  storeTensor,
  subgraphsOf,
  tensorBytes,
  withGraph,
  type Graph,
  type Model,
  type Node,
  type StoredTensor,
  type TensorType,
} from '../../onnx/index.js';
import { sizeOf, storedBytes, type DType, type Tensor } from '../../tensor/index.js';
import { editGraphs, type Pass } from '../pass.js';

/** A result may always be this large; beyond, it may not be {@link GROWTH} times as large as what it's made from. */
const SMALL_BYTES = 64 * 1024;
const GROWTH = 4;

/** Nodes to compute, in order, what they read, and which results others read. */
interface Foldable {
  readonly nodes: Node[];
  readonly constants: Map<string, StoredTensor>;
  readonly wanted: Set<string>;
}

export const foldConstants: Pass = {
  name: 'fold-constants',
  run: async (model, ctx) => {
    const foldable = findFoldable(model);
    if (foldable.wanted.size === 0) return { model, changed: 0, notes: [] };
    const values = await compute(model, foldable, ctx);
    return { model: replaceComputed(model, foldable, values), changed: foldable.nodes.length, notes: [] };
  },
};

/** Values of the whole model's foldable nodes, those inside subgraphs too: prepared models have no name twice. */
async function compute(model: Model, foldable: Foldable, ctx: Context): Promise<Map<string, Tensor>> {
  const graph = {
    ...model.graph,
    inputs: [],
    outputs: [],
    nodes: foldable.nodes,
    initializers: foldable.constants,
    valueInfo: new Map(),
  };
  const source = withOutputs(withGraph(model, graph), [...foldable.wanted], true);
  const session = await openSession(source, { optimization: 'none', threads: ctx.threads });
  try {
    return await session.run({});
  } finally {
    await session.release();
  }
}

function findFoldable(model: Model): Foldable {
  const foldable: Foldable = { nodes: [], constants: new Map(), wanted: new Set() };
  const { nodes, constants, wanted } = foldable;
  /** Foldable values, with the bytes of the constants they are made from. */
  const computed = new Map<string, number>();
  const visit = (graph: Graph, outer: ReadonlyMap<string, StoredTensor>): void => {
    const known = new Map([...outer, ...graph.initializers]);
    for (const { name } of graph.inputs) known.delete(name);
    const outputs = new Set(graph.outputs.map((v) => v.name));
    for (const node of graph.nodes) {
      const inputs = node.inputs.filter((name) => name !== '');
      const isConstant = inputs.length > 0 && inputs.every((name) => computed.has(name) || known.has(name));
      const sources = inputs.reduce((sum, name) => sum + (computed.get(name) ?? bytesOf(known.get(name))), 0);
      if (isConstant && mayFold(node, graph, sources) && !node.outputs.some((o) => outputs.has(o))) {
        nodes.push(node);
        for (const name of inputs) {
          const stored = known.get(name);
          if (stored !== undefined) constants.set(name, stored);
        }
        for (const name of node.outputs) if (name !== '') computed.set(name, sources);
      } else {
        for (const name of inputs) if (computed.has(name)) wanted.add(name);
        for (const { graph: subgraph } of subgraphsOf(node)) visit(subgraph, known);
      }
    }
    for (const name of outputs) if (computed.has(name)) wanted.add(name);
  };
  visit(model.graph, new Map());
  return foldable;
}

/** Element types the runtime hands out and initializers hold. */
const FOLDABLE_TYPES: ReadonlySet<DType | 'string' | undefined> = new Set<DType>([
  'bool',
  'float16',
  'float32',
  'float64',
  'int8',
  'int16',
  'int32',
  'int64',
  'uint8',
  'uint16',
  'uint32',
  'uint64',
]);

function bytesOf(stored: StoredTensor | undefined): number {
  return stored === undefined ? 0 : tensorBytes(stored);
}

/** Folding must give the same values in every run, keep quantized weights quantized, and not blow up the file. */
function mayFold(node: Node, graph: Graph, sources: number): boolean {
  const category = operatorFacts(node)?.category;
  if (category === undefined || category === 'random' || category === 'quantized' || category === 'control')
    return false;
  return node.outputs.every((name) => {
    const type = graph.valueInfo.get(name)?.type;
    if (name === '') return true;
    return FOLDABLE_TYPES.has(type?.dtype) && isAcceptable(staticBytes(type), sources);
  });
}

function isAcceptable(bytes: number | undefined, sources: number): boolean {
  return bytes === undefined || bytes <= Math.max(SMALL_BYTES, GROWTH * sources);
}

/** Bytes of a value whose dimensions are all known. */
function staticBytes(type: TensorType | undefined): number | undefined {
  if (type?.dtype === undefined || type.dtype === 'string') return undefined;
  const dims = type.dims?.filter((d) => typeof d === 'number');
  return dims === undefined || dims.length !== type.dims?.length
    ? undefined
    : storedBytes(type.dtype, sizeOf(dims));
}

function replaceComputed(model: Model, foldable: Foldable, values: ReadonlyMap<string, Tensor>): Model {
  const nodes = new Set(foldable.nodes);
  return editGraphs(model, ({ graph }) => {
    for (const node of graph.nodes) {
      if (!nodes.has(node)) continue;
      graph.remove(node);
      for (const output of node.outputs) {
        const computed = values.get(output);
        if (computed !== undefined) graph.initializers.set(output, storeTensor(computed));
      }
    }
  });
}
