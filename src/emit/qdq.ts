/** QDQ output: QuantizeLinear and DequantizeLinear placed so that the runtime fuses integer kernels. */
import { FxqError, required } from '../core/index.js';
import { parseFormat } from '../formats/index.js';
import {
  GraphEditor,
  everyConstant,
  everyNode,
  loadTensor,
  mapSubgraphs,
  namesRead,
  operatorFacts,
  renameInputs,
  storeTensor,
  withGraph,
  type Graph,
  type Model,
  type Node,
  type StoredTensor,
} from '../onnx/index.js';
import { type NodePlan, type Plan, type SolvedWeight, type WeightQuantization } from '../plan/index.js';
import { toFloat32 } from '../tensor/index.js';
import { keptApart, quantizePair, type Codes } from './activation.js';
import { integerBias } from './bias.js';
import { createDynamicEmitter, type DynamicEmitter, type DynamicWeight } from './dynamic.js';
import { freshNames, type Fragment, type FreshName } from './fragment.js';
import { pairsAroundMovement } from './movement-pairs.js';
import { dequantizedWeight } from './weight.js';

export type SolvedWeights = ReadonlyMap<string, SolvedWeight>;

/**
 * Writes a plan into the graph.
 *
 * @param model  the prepared model the plan was made for, at an opset that knows the plan's formats
 * @param solved codes of every weight in the plan, by initializer
 */
export function emitQdq(model: Model, plan: Plan, solved: SolvedWeights): Model {
  const scope = { plan, solved, constants: everyConstant(model.graph), fresh: freshNames(model.graph) };
  const graph = new QdqEmitter(model.graph, scope).emit();
  const needsMicrosoft = everyNode(graph).some((n) => n.domain === 'com.microsoft');
  const opsets = needsMicrosoft ? new Map([...model.opsets, ['com.microsoft', 1]] as const) : model.opsets;
  return pairsAroundMovement(withGraph({ ...model, opsets }, graph));
}

interface EmitScope {
  readonly plan: Plan;
  readonly solved: SolvedWeights;
  /** Constants of the whole model; a subgraph may read those around it. */
  readonly constants: ReadonlyMap<string, StoredTensor>;
  readonly fresh: FreshName;
}

/**
 * Whether onnxruntime 1.30 would carry 8-bit floats into an operator that does not take them: it moves DequantizeLinear
 * past operators that only move values, and makes an integer product of two dequantized operands whatever their type.
 */
function misreadsFloat8(node: Node): boolean {
  return ['Gemm', 'MatMul'].includes(node.opType) || operatorFacts(node)?.category === 'movement';
}

/** Operators whose constant weights onnxruntime 1.30 rounds to bytes, one scale a tensor, beside a dequantized operand. */
const ROUNDED_AGAIN: ReadonlySet<string> = new Set(['Conv', 'ConvTranspose', 'Gemm']);

/** Goes through the nodes once, in order; every value is followed by the pairs that quantize it. */
class QdqEmitter {
  readonly #graph: Graph;
  readonly #scope: EmitScope;
  readonly #plan: Plan;
  readonly #fresh: FreshName;
  readonly #dynamic: DynamicEmitter;
  readonly #nodes: Node[] = [];
  readonly #initializers: Map<string, StoredTensor>;
  /** Ids by value. */
  readonly #variants = new Map<string, string[]>();
  /** Dequantized value of every id. */
  readonly #dequantized = new Map<string, string>();
  /** The same behind a Max, for readers that must not know of the quantization. */
  readonly #apart = new Map<string, string>();
  /** What readers of the plain value see instead, for values whose every reader sees the quantized one. */
  readonly #seen = new Map<string, string>();
  readonly #weights = new Map<string, string>();
  readonly #codes = new Map<string, Codes>();
  /** Ids whose codes a node writes itself. */
  readonly #onCodes = new Set<string>();
  readonly #outputs: ReadonlySet<string>;
  /** Names under which producers write values whose dequantized form takes over their name. */
  readonly #raw = new Map<string, string>();

  constructor(graph: Graph, scope: EmitScope) {
    this.#graph = graph;
    this.#scope = scope;
    this.#plan = scope.plan;
    this.#fresh = scope.fresh;
    this.#dynamic = createDynamicEmitter(this.#fresh);
    this.#initializers = new Map(graph.initializers);
    this.#outputs = new Set(graph.outputs.map((o) => o.name));
    this.#nameVariants();
  }

  #nameVariants(): void {
    const seenIds = new Set(
      Object.values(this.#plan.nodes).flatMap((n) => n.outputs.filter((id) => id !== null)),
    );
    const own = new Set([
      ...this.#graph.inputs.map((v) => v.name),
      ...this.#graph.nodes.flatMap((n) => n.outputs),
    ]);
    for (const [id, { value }] of Object.entries(this.#plan.activations)) {
      if (!own.has(value)) continue;
      this.#variants.set(value, [...(this.#variants.get(value) ?? []), id]);
      const seen = seenIds.has(id);
      const name = seen && this.#outputs.has(value) ? value : this.#fresh(`${id}_dequantized`);
      this.#dequantized.set(id, name);
      if (this.#graph.nodes.some((node) => node.inputs.includes(value) && this.#mistakes(node, id)))
        this.#apart.set(id, this.#fresh(`${id}_apart`));
      if (seen) this.#seen.set(value, this.#apart.get(id) ?? name);
      if (name === value) this.#raw.set(value, this.#fresh(`${value}_float`));
    }
  }

  /** Whether a reader needs a Max between itself and the dequantized value. */
  #mistakes(node: Node, id: string): boolean {
    const { dtype } = parseFormat(required(this.#plan.activations[id], id).format);
    return (dtype.startsWith('float8') && misreadsFloat8(node)) || this.#roundsWeightAgain(node);
  }

  /** Whether the runtime would round a weight to other levels than its own: those of formats it makes constants of. */
  #roundsWeightAgain(node: Node): boolean {
    const weight = this.#plan.nodes[node.name]?.weights[1];
    if (weight === undefined || !ROUNDED_AGAIN.has(node.opType)) return false;
    const { onnx } = parseFormat(required(this.#plan.weights[weight], weight).format);
    return onnx === 'table' || onnx === 'vectors' || onnx === 'cast';
  }

  emit(): Graph {
    for (const input of this.#graph.inputs) this.#addPairs(input.name);
    for (const node of this.#graph.nodes) {
      this.#addNode(node);
      for (const output of node.outputs) this.#addPairs(output);
    }
    const graph = { ...this.#graph, nodes: this.#nodes, initializers: this.#initializers };
    return new GraphEditor(graph).finish({ prune: true });
  }

  #add(fragment: Fragment): void {
    this.#nodes.push(...fragment.nodes);
    for (const [name, t] of fragment.initializers) this.#initializers.set(name, storeTensor(t));
  }

  #addPairs(value: string): void {
    for (const id of this.#variants.get(value) ?? []) {
      const quantization = required(this.#plan.activations[id], id);
      const result = required(this.#dequantized.get(id), id);
      const raw = this.#onCodes.has(id) ? undefined : (this.#raw.get(value) ?? value);
      this.#add(quantizePair(this.#fresh, id, quantization, raw, result, this.#codesOf(id)));
      const apart = this.#apart.get(id);
      if (apart !== undefined) this.#nodes.push(keptApart(result, apart, this.#fresh(`${id}_Max`)));
    }
  }

  #codesOf(id: string): Codes {
    const known = this.#codes.get(id);
    if (known !== undefined) return known;
    const codes = { code: this.#fresh(`${id}_quantized`), zeroPoint: this.#fresh(`${id}_zero_point`) };
    this.#codes.set(id, codes);
    return codes;
  }

  /** A node that moves codes: it reads and writes them in place of the dequantized values. */
  #addOnCodes(node: Node, plan: NodePlan): void {
    const inputs = node.inputs.map((name, i) => {
      const id = plan.inputs[i];
      return id == null ? name : this.#codesOf(id).code;
    });
    const source = this.#codesOf(required(plan.inputs[0], 'operand'));
    if (node.opType === 'Pad') inputs[2] = source.zeroPoint;
    const outputs = node.outputs.map((name, i) => {
      const id = plan.outputs[i];
      if (id == null) return name;
      this.#onCodes.add(id);
      return this.#codesOf(id).code;
    });
    this.#nodes.push({ ...node, inputs, outputs });
  }

  #addNode(node: Node): void {
    const plan = this.#plan.nodes[node.name];
    const floatReads = new Map([...namesRead(node)].flatMap((name) => this.#seenName(name)));
    const inner = mapSubgraphs(node, (subgraph) => new QdqEmitter(subgraph, this.#scope).emit());
    const renamed = renameInputs(inner, floatReads);
    const outputs = node.outputs.map((value) => this.#raw.get(value) ?? value);
    if (plan === undefined) {
      this.#nodes.push({ ...renamed, outputs });
      return;
    }
    if (plan.onCodes === true) {
      this.#addOnCodes(renamed, plan);
      return;
    }
    if (plan.decision === 'dynamic') {
      this.#add(this.#dynamic.emit({ ...renamed, outputs }, this.#dynamicWeights(plan)));
      return;
    }
    const inputs = renamed.inputs.map((name, i) => this.#operand(node, plan, i) ?? name);
    this.#nodes.push({ ...renamed, inputs, outputs });
  }

  #seenName(name: string): [string, string][] {
    const seen = this.#seen.get(name);
    return seen === undefined || seen === name ? [] : [[name, seen]];
  }

  /** The quantized replacement of one input, or undefined when it stays as it is. */
  #operand(node: Node, plan: NodePlan, input: number): string | undefined {
    const id = plan.inputs[input];
    if (id != null)
      return (this.#mistakes(node, id) ? this.#apart.get(id) : undefined) ?? this.#dequantized.get(id);
    const weight = plan.weights[input];
    if (weight !== undefined) return this.#weight(weight);
    return input === plan.bias ? this.#bias(node, plan) : undefined;
  }

  #weight(initializer: string): string {
    const known = this.#weights.get(initializer);
    if (known !== undefined) return known;
    const result = this.#fresh(`${initializer}_dequantized`);
    this.#weights.set(initializer, result);
    const quantization = required(this.#plan.weights[initializer], initializer);
    const dims = this.#stored(initializer).dims;
    const apart = this.#breaksFusion(initializer, quantization);
    this.#add(
      dequantizedWeight(this.#fresh, quantization, this.#solvedWeight(initializer), dims, result, apart),
    );
    return result;
  }

  /**
   * onnxruntime 1.30 fuses Conv, Gemm and MatMul into integer operators that take no 2-bit weights, no 8-bit floats, and no
   * bytes with scales of blocks; and products of 2-bit weights with float activations into MatMulNBits, where rows that do
   * not fill their last byte come out wrong.
   */
  #breaksFusion(initializer: string, { format, granularity }: WeightQuantization): boolean {
    const { dtype } = parseFormat(format);
    const isTwoBit = /^u?int2$/.test(dtype);
    const isBlockOfBytes = /^u?int8$/.test(dtype) && granularity.kind === 'block';
    if (!isTwoBit && !isBlockOfBytes && !dtype.startsWith('float8')) return false;
    const fillsBytes = !isTwoBit || (this.#stored(initializer).dims.at(-1) ?? 4) % 4 === 0;
    return Object.values(this.#plan.nodes).some(({ opType, decision, weights }) => {
      const isProduct = opType === 'Gemm' || opType === 'MatMul';
      return (
        Object.values(weights).includes(initializer) &&
        ((decision === 'static' && (isProduct || opType === 'Conv')) ||
          (decision === 'weights' && isProduct && !fillsBytes))
      );
    });
  }

  #bias(node: Node, plan: NodePlan): string {
    const name = node.inputs[plan.bias ?? 0] ?? '';
    const bias = toFloat32(loadTensor(this.#stored(name), name));
    const activation = plan.inputs.find((id) => id !== null) ?? '';
    const inputScale = required(this.#plan.activations[activation], activation).scale[0] ?? 1;
    const weightScale = this.#solvedWeight(required(Object.values(plan.weights)[0], 'weight')).scale;
    const fragment = integerBias(this.#fresh, node.name, bias, inputScale, weightScale);
    this.#add(fragment);
    return fragment.result;
  }

  #solvedWeight(initializer: string): SolvedWeight {
    const found = this.#scope.solved.get(initializer);
    if (found !== undefined) return found;
    throw new FxqError('E_INTERNAL', `internal: weight '${initializer}' was planned but not solved`);
  }

  #stored(initializer: string): StoredTensor {
    return required(this.#scope.constants.get(initializer), `initializer ${initializer}`);
  }

  #dynamicWeights(plan: NodePlan): DynamicWeight[] {
    return Object.values(plan.weights).map((name) => ({
      name,
      solved: this.#solvedWeight(name),
      dtype: parseFormat(required(this.#plan.weights[name], name).format).dtype,
      dims: this.#stored(name).dims,
    }));
  }
}
