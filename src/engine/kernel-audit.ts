/** Kernel audit: which weighted nodes the runtime really runs as integer kernels, and why the others do not. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { everyNode, parseModel, type Graph, type Model, type Node } from '../onnx/index.js';
import { externalFolder } from './runtime-model.js';
import { openSession } from './session.js';

/** Operators of onnxruntime that multiply integers. */
const INTEGER_KERNELS = new Set([
  'QLinearConv',
  'ConvInteger',
  'ConvIntegerToFloat',
  'QLinearMatMul',
  'MatMulInteger',
  'MatMulIntegerToFloat',
  'DynamicQuantizeMatMul',
  'QGemm',
  'DynamicQuantizeLSTM',
  'QAttention',
]);

/** Kernels with packed low-bit weights and float activations. */
const PACKED_KERNELS = new Set(['MatMulNBits', 'GatherBlockQuantized']);

const WEIGHTED = new Set([
  'Conv',
  'ConvTranspose',
  'Gemm',
  'MatMul',
  'LSTM',
  'GRU',
  'RNN',
  ...INTEGER_KERNELS,
  ...PACKED_KERNELS,
]);

export interface AuditedNode {
  readonly name: string;
  readonly opType: string;
  readonly kernel: 'integer' | 'packed' | 'float';
  /** Operator that the runtime runs in its place. */
  readonly runsAs: string;
  /** Why it is not an integer kernel; empty for those that are. */
  readonly why: string;
}

export interface KernelAudit {
  /** Weighted nodes in graph order, those of subgraphs included. */
  readonly nodes: readonly AuditedNode[];
  readonly integer: number;
  readonly packed: number;
  readonly float: number;
  /** Quantize and dequantize nodes left at run time: each is a pass over a tensor. */
  readonly conversions: number;
}

/**
 * Lets the runtime optimize the model as it would for a run and reads back what became of every weighted node.
 *
 * @param model a quantized model whose node names are unique
 */
export async function auditKernels(model: Model): Promise<KernelAudit> {
  const optimized = everyNode(await optimizedGraph(model));
  const byName = new Map(optimized.map((node) => [baseName(node.name), node]));
  const byOutput = new Map(optimized.flatMap((node) => node.outputs.map((output) => [output, node])));
  const weighted = everyNode(model.graph).filter((node) => WEIGHTED.has(node.opType));
  const nodes = weighted.map((node): AuditedNode => {
    const found =
      byName.get(node.name) ??
      node.outputs.map((output) => byOutput.get(output)).find((n) => n !== undefined);
    const runsAs = found?.opType ?? node.opType;
    const kernel = INTEGER_KERNELS.has(runsAs) ? 'integer' : PACKED_KERNELS.has(runsAs) ? 'packed' : 'float';
    const why =
      kernel === 'integer'
        ? ''
        : kernel === 'packed'
          ? 'weights are packed, arithmetic is float'
          : whyFloat(node, model.graph);
    return { name: node.name, opType: node.opType, kernel, runsAs, why };
  });
  const count = (kernel: AuditedNode['kernel']): number => nodes.filter((n) => n.kernel === kernel).length;
  return {
    nodes,
    integer: count('integer'),
    packed: count('packed'),
    float: count('float'),
    conversions: optimized.filter((n) => /^(Dynamic)?(Quantize|Dequantize)Linear$/.test(n.opType)).length,
  };
}

/** The graph after all of the runtime's rewriting. */
export async function optimizedGraph(model: Model): Promise<Graph> {
  const folder = mkdtempSync(join(tmpdir(), 'fxq-audit-'));
  try {
    const path = join(folder, 'optimized.onnx');
    const session = await openSession(model, { optimizedModelPath: path });
    await session.release();
    // Tensors that the model has in files stay there, and what the runtime writes refers to them from their folder.
    const origin = join(externalFolder(model) ?? folder, 'optimized.onnx');
    return parseModel(readFileSync(path), path, origin).graph;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Fused nodes keep the name of the node they replace, with a suffix from layout changes. */
function baseName(name: string): string {
  return name.replace(/(_token_\d+|_nchwc|_nhwc)+$/, '');
}

/** The reason, read off the model as fxq wrote it. */
function whyFloat(node: Node, graph: Graph): string {
  const producer = new Map(graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  const source = (index: number): Node | undefined => {
    const direct = producer.get(node.inputs[index] ?? '');
    // Codes of 2-bit weights meet their scale in a Mul.
    return direct?.opType === 'Mul' ? producer.get(direct.inputs[0] ?? '') : direct;
  };
  const isDequantized = (index: number): boolean => source(index)?.opType === 'DequantizeLinear';
  if (node.opType === 'ConvTranspose' || node.opType === 'GRU' || node.opType === 'RNN') {
    return `onnxruntime has no integer kernel for ${node.opType}`;
  }
  const weightsOnly = isDequantized(1) && !isDequantized(0);
  if (weightsOnly) return 'only its weights are quantized';
  if (!isDequantized(0) || !isDequantized(1)) return 'it was left float';
  const narrow = [0, 1]
    .map((i) => elementType(source(i), graph))
    .find((t) => t !== undefined && !/^u?int8$/.test(t));
  if (narrow !== undefined) return `onnxruntime has no integer kernel for ${narrow} operands`;
  if (node.opType === 'Gemm' && node.inputs[2] && !isDequantized(2)) return 'its bias is float';
  const readers = graph.nodes.filter((n) => n.inputs.includes(node.outputs[0] ?? ''));
  if (
    node.opType === 'Conv' &&
    !readers.some((n) => n.opType === 'QuantizeLinear' || n.opType === 'Relu' || n.opType === 'Clip')
  ) {
    return 'its output is not quantized';
  }
  return 'the runtime did not fuse it';
}

/** Element type of the codes a DequantizeLinear reads, from its zero point. */
function elementType(dequantize: Node | undefined, graph: Graph): string | undefined {
  return graph.initializers.get(dequantize?.inputs[2] ?? '')?.dtype;
}
