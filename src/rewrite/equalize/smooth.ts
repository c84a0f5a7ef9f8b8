/**
 * SmoothQuant (Xiao et al., arXiv 2211.10438): channels of an activation that reach far are divided by s, and the rows of
 * the weights that read them multiplied, so that the difficulty of quantizing is shared between both.
 */
import { GraphEditor, node as createNode, withGraph, type Graph, type Model } from '../../onnx/index.js';
import { tensor } from '../../tensor/index.js';
import { findChannelGroups } from './channel-groups.js';
import { type ChannelGroup, type ScaledConstant, type Shapes } from './group.js';
import { channelReach, nodesOf } from './cross-layer.js';
import { consume } from './ends.js';
import { openWeights, rescaledModel, type GroupScales } from './rescale.js';

/** An activation that can be smoothed. */
export interface SmoothingGroup {
  readonly group: ChannelGroup;
  /** Values that matrix products read. */
  readonly inputs: readonly string[];
  /** Matrix products that read it, by node name. */
  readonly readers: readonly string[];
  /** A multiplication in front of the readers divides, since nothing before can. */
  readonly inserted: boolean;
}

/** Smallest scale. */
const FLOOR = 1e-5;

/**
 * Activations in front of matrix products whose scales fold into what makes them: a normalization's gain, another layer.
 * A value that several products read is one group, with one scale a channel.
 *
 * @param insert also those that need a multiplication in front of the products
 */
export function smoothingGroups(
  { graph }: Model,
  shapes: Shapes,
  insert: boolean,
  isWanted: (node: string) => boolean = () => true,
): SmoothingGroup[] {
  const isProduct = ({ node }: ScaledConstant): boolean => ['MatMul', 'Gemm'].includes(node.opType);
  const folded = findChannelGroups(graph, shapes)
    .groups.filter((g) => g.consumers.every(isProduct))
    .map((group): SmoothingGroup => smoothing(group, false));
  const taken = new Set(folded.flatMap((g) => g.readers));
  const inserted = insert
    ? insertable(graph, shapes).filter((g) => !g.readers.some((r) => taken.has(r)))
    : [];
  return [...folded, ...inserted].filter(({ group }) =>
    [...group.producers, ...group.consumers].every(({ node }) => isWanted(node.name)),
  );
}

function smoothing(group: ChannelGroup, inserted: boolean): SmoothingGroup {
  const inputs = [...new Set(group.consumers.map(({ node }) => node.inputs[0] ?? ''))];
  return { group, inputs, readers: nodesOf(group.consumers), inserted };
}

/** Values that matrix products read, as groups of their own: the value itself stays as it is. */
function insertable(graph: Graph, shapes: Shapes): SmoothingGroup[] {
  const editor = new GraphEditor(graph);
  const values = new Set(
    graph.nodes.filter((n) => n.opType === 'MatMul' || n.opType === 'Gemm').map((n) => n.inputs[0] ?? ''),
  );
  return [...values].flatMap((value): SmoothingGroup[] => {
    const dims = shapes.get(value)?.dims;
    const channels = dims?.at(-1);
    if (dims === undefined || typeof channels !== 'number' || editor.constant(value) !== undefined) return [];
    const consumers: ScaledConstant[] = [];
    for (const reader of editor.consumers(value)) {
      consume(reader, value, {
        graph: editor,
        channels,
        dims: (name) => editor.constant(name)?.dims ?? shapes.get(name)?.dims,
        place: (name) => (name === value ? { axis: dims.length - 1, inner: 1 } : undefined),
        join: () => undefined,
        isDivided: () => false,
        scale: (_, constant) => {
          const isOwn = editor.consumers(constant.initializer).length === 1;
          if (isOwn && editor.constant(constant.initializer)?.dtype === 'float32')
            consumers.push({ ...constant, power: 1 });
          return undefined;
        },
      });
    }
    if (consumers.length === 0) return [];
    return [smoothing({ channels, values: new Map(), producers: [], consumers }, true)];
  });
}

/**
 * s_j = max|X_j|^α / max|W_j|^(1−α), the largest over all readers; 1 for channels without values or weights.
 *
 * @param reach largest magnitude of every channel of the activation, [channels]
 */
export function smoothingScales(
  model: Model,
  { group }: SmoothingGroup,
  reach: ArrayLike<number>,
  alpha: number,
): Float64Array {
  const weights = channelReach(group.consumers, group.channels, openWeights(model, [group]));
  return weights.map((w, j) => {
    const x = reach[j] ?? 0;
    return x > 0 && w > 0 ? Math.max(x ** alpha / w ** (1 - alpha), FLOOR) : 1;
  });
}

/** The model with activations divided: by what makes them, or by a multiplication in front of their readers. */
export function smooth(model: Model, scaled: readonly (GroupScales & SmoothingGroup)[]): Model {
  const weights = openWeights(
    model,
    scaled.map(({ group }) => group),
  );
  for (const { group, scales } of scaled) weights.apply(group, scales);
  const divided = scaled.filter((s) => s.inserted).reduce((graph, s) => withDivision(graph, s), model.graph);
  return rescaledModel(
    withGraph(model, divided),
    scaled.map(({ group }) => group),
    weights,
  );
}

/** One multiplication by 1/s that all readers of a value share. */
function withDivision(graph: Graph, { inputs, readers, scales }: GroupScales & SmoothingGroup): Graph {
  const editor = new GraphEditor(graph);
  const [value = ''] = inputs;
  const factor = editor.addInitializer(
    `${value}_smoothing`,
    tensor(
      'float32',
      [scales.length],
      Float32Array.from(scales, (s) => 1 / s),
    ),
  );
  const output = editor.uniqueName(`${value}_smoothed`);
  for (const reader of editor.consumers(value))
    if (readers.includes(reader.name)) editor.setInput(reader, 0, output);
  editor.add(
    createNode('Mul', [value, factor], [output], {}, { name: editor.uniqueName(`${value}_smooth`) }),
  );
  return editor.finish();
}
