/** From a prepared model and its plan to an integer program: one pass over the nodes, one rule an operator. */
import { FxqError } from '../../core/index.js';
import {
  describeNode,
  floatAttribute,
  loadTensor,
  namesRead,
  operatorFacts,
  type Graph,
  type Node,
} from '../../onnx/index.js';
import { toFloat32 } from '../../tensor/index.js';
import { lowerAdd, lowerDiv, lowerLimits, lowerMul, lowerSub, lowerTable } from './lower-elementwise.js';
import {
  lowerAveragePool,
  lowerConv,
  lowerGemm,
  lowerGlobalAveragePool,
  lowerMatMul,
  lowerMaxPool,
  lowerReduceMean,
} from './lower-linear.js';
import {
  lowerConcat,
  lowerExpand,
  lowerGather,
  lowerPad,
  lowerReshape,
  lowerSlice,
  lowerSplit,
  lowerTranspose,
} from './lower-move.js';
import { lowerLayerNorm, lowerSoftmax } from './lower-normalize.js';
import { Lowering, refuse, type Fusion, type LoweringInput } from './lowering.js';
import { type Border, type IntegerProgram } from './program.js';

type Rule = (node: Node, to: Lowering) => void | Promise<void>;

const limits: Rule = (node, to) => lowerLimits(node, to, limitsOf(node, to.input.graph));

/** How each operator becomes integer operations. */
export const RULES: Readonly<Record<string, Rule>> = {
  Add: lowerAdd,
  AveragePool: lowerAveragePool,
  Clip: limits,
  Concat: lowerConcat,
  Conv: lowerConv,
  Div: lowerDiv,
  Expand: lowerExpand,
  Flatten: lowerReshape,
  Gather: lowerGather,
  Gemm: lowerGemm,
  GlobalAveragePool: lowerGlobalAveragePool,
  LayerNormalization: lowerLayerNorm,
  MatMul: lowerMatMul,
  MaxPool: lowerMaxPool,
  Mul: lowerMul,
  Pad: lowerPad,
  ReduceMean: lowerReduceMean,
  Relu: limits,
  Reshape: lowerReshape,
  Slice: lowerSlice,
  Softmax: lowerSoftmax,
  Split: lowerSplit,
  Squeeze: lowerReshape,
  Sub: lowerSub,
  Transpose: lowerTranspose,
  Unsqueeze: lowerReshape,
  // Functions of one variable
  Abs: lowerTable,
  Celu: lowerTable,
  Elu: lowerTable,
  Erf: lowerTable,
  Exp: lowerTable,
  Gelu: lowerTable,
  HardSigmoid: lowerTable,
  HardSwish: lowerTable,
  LeakyRelu: lowerTable,
  Log: lowerTable,
  Mish: lowerTable,
  Neg: lowerTable,
  Pow: lowerTable,
  Reciprocal: lowerTable,
  Selu: lowerTable,
  Sigmoid: lowerTable,
  Softplus: lowerTable,
  Softsign: lowerTable,
  Sqrt: lowerTable,
  Tanh: lowerTable,
  ThresholdedRelu: lowerTable,
  'com.microsoft.Gelu': lowerTable,
  'com.microsoft.QuickGelu': lowerTable,
};

export interface Lowered {
  readonly program: IntegerProgram;
  /** Float nodes before the input quantization, and after the output dequantization. */
  readonly before: readonly Node[];
  readonly after: readonly Node[];
}

/**
 * Lowers a model.
 *
 * @throws FxqError E_UNSUPPORTED naming the node that has no integer form, and why
 */
export async function lowerToIntegers(input: LoweringInput): Promise<Lowered> {
  const { graph, plan } = input;
  const to = new Lowering(input, findFusions(input));
  const fused = new Set([...to.fusions.values()].map((fusion) => fusion.by));
  const before: Node[] = [];
  const after: Node[] = [];
  /** Float values computed from integer ones. */
  const downstream = new Set<string>();
  for (const node of graph.nodes) {
    if (fused.has(node)) continue;
    const reads = [...namesRead(node)];
    if (plan.nodes[node.name]?.decision === 'static') {
      const late = reads.find((name) => downstream.has(name) && to.repeatedConstant(name) === undefined);
      if (late !== undefined) throw floatInBetween(node, late, after);
      const rule = RULES[node.domain === '' ? node.opType : `${node.domain}.${node.opType}`];
      if (rule === undefined) throw refuse(node, 'fxq has no integer form of this operator');
      await rule(node, to);
    } else if (reads.some((name) => to.produced.has(name) || downstream.has(name))) {
      after.push(node);
      for (const name of node.outputs) downstream.add(name);
    } else {
      before.push(node);
    }
  }
  const read = new Set([...to.borders.map((border) => border.real), ...graph.outputs.map((o) => o.name)]);
  const tail = nodesFor(after, read);
  return { program: to.finish(leaving(graph, to, tail)), before: nodesFor(before, read), after: tail };
}

/** The nodes that lead to some values; their own operands are added to these. */
function nodesFor(nodes: readonly Node[], values: Set<string>): Node[] {
  const needed = [...nodes].reverse().filter((node) => {
    if (!node.outputs.some((output) => values.has(output))) return false;
    for (const name of namesRead(node)) values.add(name);
    return true;
  });
  return needed.reverse();
}

/** Integer values that somebody reads as float: outputs of the graph and operands of the float nodes at the end. */
function leaving(graph: Graph, to: Lowering, after: readonly Node[]): Border[] {
  const wanted = new Set([...graph.outputs.map((o) => o.name), ...after.flatMap((n) => [...namesRead(n)])]);
  return [...wanted].flatMap((real) => {
    const codes = to.produced.get(real);
    return codes === undefined ? [] : [{ real, codes }];
  });
}

function floatInBetween(node: Node, value: string, after: readonly Node[]): FxqError {
  const cause = after.find((n) => n.outputs.includes(value));
  return new FxqError(
    'E_UNSUPPORTED',
    `${describeNode(node)} needs '${value}', which ${cause === undefined ? 'a node' : describeNode(cause)} computes in float`,
    'Quantize that node, or exclude everything behind it.',
  );
}

/** Relu and Clip whose result, not their operand, is quantized: they limit the node before them. */
function findFusions({ graph, plan }: LoweringInput): Map<Node, Fusion> {
  const writers = new Map(graph.nodes.flatMap((n) => n.outputs.map((output) => [output, n] as const)));
  const fusions = new Map<Node, Fusion>();
  for (const node of graph.nodes) {
    const own = plan.nodes[node.name];
    const writer = writers.get(node.inputs[0] ?? '');
    if (own?.decision !== 'static' || writer === undefined) continue;
    if (operatorFacts(node)?.category !== 'activation' || own.inputs[0] != null) continue;
    fusions.set(writer, { by: node, ...limitsOf(node, graph) });
  }
  return fusions;
}

/** Limits of Relu and Clip. */
function limitsOf(node: Node, graph: Graph): { low: number; high: number } {
  if (node.opType === 'Relu') return { low: 0, high: Infinity };
  const limit = (index: number, attribute: string, none: number): number => {
    const name = node.inputs[index] ?? '';
    if (name === '') return floatAttribute(node, attribute, none);
    const stored = graph.initializers.get(name);
    if (stored === undefined) throw refuse(node, 'its limits are not constant');
    return toFloat32(loadTensor(stored, name))[0] ?? none;
  };
  return { low: limit(1, 'min', -Infinity), high: limit(2, 'max', Infinity) };
}
