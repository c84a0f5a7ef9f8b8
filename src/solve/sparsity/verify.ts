/** The gate: does every group of every layer keep its pattern, in the weights as the model file stores them? */
import { openSession } from '../../engine/index.js';
import {
  GraphEditor,
  loadTensor,
  namesRead,
  storeTensor,
  weightSlots,
  withGraph,
  type Model,
} from '../../onnx/index.js';
import { toFloat32, type Tensor } from '../../tensor/index.js';
import { findWeightedLayers } from '../layers.js';
import { matrixSize, toMatrix, type WeightLayout } from '../weight-layout.js';
import { patternColumns, type Pattern } from './pattern.js';

/** What one weight looks like under a pattern. */
export interface PatternCount {
  /** Complete groups of the pattern. */
  readonly groups: number;
  /** Groups with more non-zero units than allowed. */
  readonly violations: number;
  /** Row and first column position of the first of them. */
  readonly first?: { readonly row: number; readonly position: number };
  /** Share of weights that are not zero. */
  readonly density: number;
}

export interface LayerSparsity extends PatternCount {
  readonly node: string;
  readonly weight: string;
}

/**
 * Counts violations in a weight, in the initializer's own order.
 *
 * A reduction that is no multiple of `m` has no groups that kernels could use, so all of it violates the pattern.
 */
export function countPattern(
  layout: WeightLayout,
  values: ArrayLike<number>,
  pattern: Pattern,
): PatternCount {
  const { rows, cols } = matrixSize(layout);
  const matrix = toMatrix(layout, Float32Array.from(values));
  const columns = patternColumns(layout);
  const zeros = matrix.reduce((count, w) => count + (w === 0 ? 1 : 0), 0);
  const density = 1 - zeros / matrix.length;
  const { n, m, unit } = pattern;
  const groups = (rows * cols) / m;
  if (layout.in % m !== 0)
    return {
      groups: Math.ceil(groups),
      violations: Math.ceil(groups),
      first: { row: 0, position: 0 },
      density,
    };
  let violations = 0;
  let first: { row: number; position: number } | undefined;
  for (let row = 0; row < rows; row++)
    for (let position = 0; position < cols; position += m) {
      let kept = 0;
      for (let u = 0; u < m; u += unit) {
        const isUsed = (i: number): boolean =>
          matrix[row * cols + (columns[position + u + i] as number)] !== 0;
        if (Array.from({ length: unit }, (_, i) => i).some(isUsed)) kept++;
      }
      if (kept <= n / unit) continue;
      violations++;
      first ??= { row, position };
    }
  return { groups, violations, density, ...(first === undefined ? {} : { first }) };
}

/**
 * Checks the layers of a model, float or quantized: what counts is the value a layer reads, whatever computes it from
 * constants.
 *
 * @param nodes names of the layers that must keep the pattern; all with a matrix when absent
 */
export async function verifySparsity(
  model: Model,
  pattern: Pattern,
  nodes?: ReadonlySet<string>,
): Promise<LayerSparsity[]> {
  const weights = await constantWeights(model);
  const initializers = new Map([...weights].map(([name, tensor]) => [name, storeTensor(tensor)]));
  const layers = findWeightedLayers({ ...model.graph, initializers });
  return layers
    .filter((layer) => layer.patches.kind !== 'lookup' && (nodes === undefined || nodes.has(layer.node.name)))
    .map((layer) => {
      const values = weights.get(layer.weight);
      const count = countPattern(layer.layout, values === undefined ? [] : toFloat32(values), pattern);
      return { node: layer.node.name, weight: layer.weight, ...count };
    });
}

/** The values of all weight operands that follow from constants alone, computed by the runtime. */
export async function constantWeights(model: Model): Promise<Map<string, Tensor>> {
  const { graph } = model;
  const variable = new Set(graph.inputs.map((v) => v.name));
  for (const node of graph.nodes)
    if ([...namesRead(node)].some((name) => variable.has(name)))
      for (const name of node.outputs) variable.add(name);
  const operands = new Set(
    graph.nodes.flatMap((n) => weightSlots(n).map((slot) => n.inputs[slot.input] ?? '')),
  );
  const constant = [...operands].filter((name) => name !== '' && !variable.has(name));
  const found = new Map<string, Tensor>();
  for (const name of constant) {
    const stored = graph.initializers.get(name);
    if (stored !== undefined) found.set(name, loadTensor(stored, name));
  }
  const computed = constant.filter((name) => !found.has(name));
  if (computed.length === 0) return found;
  const editor = new GraphEditor(graph);
  editor.inputs = [];
  editor.outputs = computed.map((name) => ({ name, type: undefined, proto: {} }));
  const session = await openSession(withGraph(model, editor.finish({ prune: true })));
  try {
    return new Map([...found, ...(await session.run({}))]);
  } finally {
    await session.release();
  }
}
