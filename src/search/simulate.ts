/** Candidates in the float graph: other weight values, and inputs rounded to a grid, with everything else as it was. */
import {
  graph as createGraph,
  node,
  storeTensor,
  value,
  type Graph,
  type Node,
  type StoredTensor,
  type ValueInfo,
} from '../onnx/index.js';
import { type SolvedWeight } from '../plan/index.js';
import { tensor, type Tensor } from '../tensor/index.js';
import { type SearchLayer } from './layers.js';

/** The grid of a layer's input: `(clamp(round(x/scale) + zeroPoint, low, high) − zeroPoint) · scale`. */
export interface ActivationGrid {
  readonly scale: number;
  readonly zeroPoint: number;
  readonly low: number;
  readonly high: number;
}

/** A candidate of one layer as numbers. */
export interface Realization {
  /** Values of the weight, in the initializer's order. */
  readonly weight: Float32Array;
  /** The codes behind these values; absent for float weights. */
  readonly solved?: SolvedWeight;
  /** Absent when the input stays float. */
  readonly activation?: ActivationGrid;
}

/** Graph inputs through which one open layer is set. */
export interface LayerPorts {
  readonly weight: string;
  /** float32 [4]: scale, zero point, low, high. */
  readonly grid: string;
  /** bool: whether the grid applies. */
  readonly rounds: string;
}

/** Names of an open layer's ports. */
export function portsOf(layer: SearchLayer): LayerPorts {
  return { weight: `${layer.node}:weight`, grid: `${layer.node}:grid`, rounds: `${layer.node}:rounds` };
}

/** Feeds that set an open layer to a candidate. */
export function feedsOf(layer: SearchLayer, { weight, activation }: Realization): [string, Tensor][] {
  const ports = portsOf(layer);
  const { scale = 1, zeroPoint = 0, low = 0, high = 0 } = activation ?? {};
  return [
    [ports.weight, tensor('float32', layer.layer.layout.dims, weight)],
    [ports.grid, tensor('float32', [4], [scale, zeroPoint, low, high])],
    [ports.rounds, tensor('bool', [], Uint8Array.of(activation === undefined ? 0 : 1))],
  ];
}

/**
 * The graph with candidates in place. Nodes keep their order; what is added for a layer comes right before it.
 *
 * @param fixed layers set to a candidate, by node name
 * @param open  layers that take their candidate from graph inputs (`feedsOf`)
 */
export function simulate(
  graph: Graph,
  layers: readonly SearchLayer[],
  fixed: ReadonlyMap<string, Realization>,
  open: ReadonlySet<string> = new Set(),
): Graph {
  const byNode = new Map(layers.map((l) => [l.node, l]));
  const initializers = new Map(graph.initializers);
  const inputs: ValueInfo[] = [...graph.inputs];
  const nodes = graph.nodes.flatMap((original): Node[] => {
    const layer = byNode.get(original.name);
    if (layer === undefined) return [original];
    if (open.has(layer.node)) return openLayer(layer, original, inputs);
    const realization = fixed.get(layer.node);
    return realization === undefined ? [original] : fixLayer(layer, original, realization, initializers);
  });
  return { ...graph, inputs, nodes, initializers };
}

function openLayer(layer: SearchLayer, original: Node, inputs: ValueInfo[]): Node[] {
  const ports = portsOf(layer);
  inputs.push(value(ports.weight, 'float32', layer.layer.layout.dims));
  if (!roundsInput(layer)) return [withInputs(original, layer, ports.weight, layer.layer.input)];
  inputs.push(value(ports.grid, 'float32', [4]), value(ports.rounds, 'bool', []));
  const rounded = `${layer.node}:rounded`;
  const branch = (name: string, nodes: readonly Node[], output: string): Graph =>
    createGraph({ name, inputs: [], outputs: [value(output, 'float32', undefined)], nodes });
  const [scale, zero, low, high] = ['scale', 'zero', 'low', 'high'].map((part) => `${layer.node}:${part}`);
  const parts = [scale, zero, low, high] as [string, string, string, string];
  const split = parts.map((part, i) =>
    node(
      'Slice',
      [ports.grid, `${layer.node}:at${i}`, `${layer.node}:at${i + 1}`],
      [part],
      {},
      { name: part },
    ),
  );
  const positions = Array.from({ length: 5 }, (_, i) =>
    node(
      'Constant',
      [],
      [`${layer.node}:at${i}`],
      { value: tensor('int64', [1], [BigInt(i)]) },
      { name: `${layer.node}:at${i}` },
    ),
  );
  const fake = fakeQuantize(layer.layer.input, parts, `${layer.node}:then`);
  const plain = node(
    'Identity',
    [layer.layer.input],
    [`${layer.node}:else`],
    {},
    { name: `${layer.node}:else` },
  );
  return [
    node(
      'If',
      [ports.rounds],
      [rounded],
      {
        then_branch: branch('round', [...positions, ...split, ...fake], `${layer.node}:then`),
        else_branch: branch('pass', [plain], `${layer.node}:else`),
      },
      { name: rounded },
    ),
    withInputs(original, layer, ports.weight, rounded),
  ];
}

function fixLayer(
  layer: SearchLayer,
  original: Node,
  { weight, activation }: Realization,
  initializers: Map<string, StoredTensor>,
): Node[] {
  const ports = portsOf(layer);
  initializers.set(ports.weight, storeTensor(tensor('float32', layer.layer.layout.dims, weight)));
  if (activation === undefined || !roundsInput(layer))
    return [withInputs(original, layer, ports.weight, layer.layer.input)];
  const { scale, zeroPoint, low, high } = activation;
  const parts = [scale, zeroPoint, low, high].map((number, i) => {
    const name = `${ports.grid}:${i}`;
    initializers.set(name, storeTensor(tensor('float32', [], [number])));
    return name;
  }) as [string, string, string, string];
  const rounded = `${layer.node}:rounded`;
  return [
    ...fakeQuantize(layer.layer.input, parts, rounded),
    withInputs(original, layer, ports.weight, rounded),
  ];
}

/** Rounding to a grid in float arithmetic, as QuantizeLinear and DequantizeLinear round. */
function fakeQuantize(
  input: string,
  [scale, zero, low, high]: readonly [string, string, string, string],
  output: string,
): Node[] {
  const steps: readonly [string, string | undefined][] = [
    ['Div', scale],
    ['Round', undefined],
    ['Add', zero],
    ['Max', low],
    ['Min', high],
    ['Sub', zero],
    ['Mul', scale],
  ];
  let at = input;
  return steps.map(([opType, operand], i) => {
    const result = i === steps.length - 1 ? output : `${output}:${opType}`;
    const step = node(opType, operand === undefined ? [at] : [at, operand], [result], {}, { name: result });
    at = result;
    return step;
  });
}

/** A lookup reads indices, not values. */
function roundsInput({ layer }: SearchLayer): boolean {
  return layer.patches.kind !== 'lookup';
}

function withInputs(original: Node, { layer }: SearchLayer, weight: string, input: string): Node {
  const inputs = [...original.inputs];
  inputs[layer.weightInput] = weight;
  inputs.forEach((name, i) => {
    if (i !== layer.weightInput && name === layer.input) inputs[i] = input;
  });
  return { ...original, inputs };
}
