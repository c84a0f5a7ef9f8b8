/** A block of the model as part of a program, quantized as the plan says, with binary points as values. */
import { FxqError, required } from '../../core/index.js';
import { dequantize, parseFormat } from '../../formats/index.js';
import { everyConstant, loadTensor, namesRead, type Model, type Node } from '../../onnx/index.js';
import { solvedFormat, type Plan, type SolvedWeight, type ValueTypes } from '../../plan/index.js';
import {
  fakeQuantize,
  inlineModel,
  roundStraightThrough,
  type Program,
  type Value,
} from '../../program/index.js';
import { tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { groupingOf } from '../round-to-nearest.js';
import { type Block } from './blocks.js';
import { activationKey, weightKey, type OpenPoint, type OpenPoints } from './points.js';

/** What a block is quantized by. */
export interface SliceScope {
  readonly model: Model;
  readonly types: ValueTypes;
  /** With activation scales. */
  readonly plan: Plan;
  /** Rounded weights, for those whose binary point does not move. */
  readonly weights: ReadonlyMap<string, SolvedWeight>;
  readonly points: OpenPoints;
}

/** Binary points by key, real numbers; the grid is that of the nearest integers. */
export type PointValues = Readonly<Record<string, Value>>;

/**
 * 2^(−round(f)), straight through: its derivative is −ln 2 · 2^(−round f). Composed with straight-through rounding and
 * clipping it gives QFX's ∂x_q/∂f: ln 2 · (x − x_q) inside the range, −ln 2 · x_q outside.
 */
export function scaleOfPoint(p: Program, f: Value): Value {
  const scale = p.pow(2, p.neg(p.round(f)));
  return p.tape.setGradient(scale, { inputs: [f], rule: (g) => [p.mul(g, p.mul(scale, -Math.LN2))] });
}

/** x on the grid that a point gives. */
export function quantizeAt(p: Program, x: Value, f: Value, { low, high }: OpenPoint): Value {
  const scale = scaleOfPoint(p, f);
  return p.mul(roundStraightThrough(p, p.clip(p.div(x, scale), low, high)), scale);
}

/**
 * Records a block with quantized weights and activations; returns what readers behind the block see of its outputs.
 *
 * @param inputs values that enter, by name
 * @param points the binary points in use; those that are not given are the plan's own
 */
export function quantizedBlock(
  p: Program,
  { nodes, outputs }: Block,
  scope: SliceScope,
  inputs: Readonly<Record<string, Value>>,
  points: PointValues,
): Value[] {
  const { model, types, plan } = scope;
  const values = new Map(Object.entries(inputs));
  const seen = new Map<string, Value>();
  const variants = new Map<string, Value>();
  const weights = new Map<string, Value>();
  const variant = (id: string): Value => {
    const known = variants.get(id);
    if (known !== undefined) return known;
    const { value } = required(plan.activations[id], id);
    const made = quantizedActivation(p, scope, id, required(values.get(value), value), points);
    variants.set(id, made);
    return made;
  };
  const weightOf = (name: string): Value => {
    const known = weights.get(name) ?? quantizedWeight(p, scope, name, points);
    weights.set(name, known);
    return known;
  };
  for (const node of nodes) {
    const nodePlan = plan.nodes[node.name];
    const bind: Record<string, Value> = {};
    for (const [name, value] of readValues(node, values, seen)) bind[name] = value;
    node.inputs.forEach((name, i) => {
      const [id, weight] = [nodePlan?.inputs[i], nodePlan?.weights[i]];
      if (id != null) bind[name] = variant(id);
      else if (weight !== undefined) bind[name] = weightOf(weight);
    });
    const made = inlineModel(
      p,
      model,
      node.outputs.filter((name) => name !== ''),
      { types, bind },
    );
    for (const [name, value] of Object.entries(made)) values.set(name, value);
    nodePlan?.outputs.forEach((id, i) => {
      const name = node.outputs[i] ?? '';
      if (id !== null) seen.set(name, variant(id));
    });
  }
  return outputs.map((name) => required(seen.get(name) ?? values.get(name), name));
}

/** What a node reads of values computed so far, subgraphs included. */
function readValues(
  node: Node,
  values: ReadonlyMap<string, Value>,
  seen: ReadonlyMap<string, Value>,
): [string, Value][] {
  return [...namesRead(node)].flatMap((name): [string, Value][] => {
    const value = seen.get(name) ?? values.get(name);
    return value === undefined ? [] : [[name, value]];
  });
}

function quantizedActivation(
  p: Program,
  scope: SliceScope,
  id: string,
  x: Value,
  points: PointValues,
): Value {
  const { tie, format: name, scale, zeroPoint } = required(scope.plan.activations[id], id);
  const key = activationKey(tie);
  const [open, f] = [scope.points.get(key), points[key]];
  if (open !== undefined && f !== undefined) return quantizeAt(p, x, f, open);
  const format = parseFormat(name);
  if (!format.integer || !format.uniform)
    throw new FxqError(
      'E_FORMAT',
      `binary points cannot be learned through '${id}', whose format ${name} is no uniform grid`,
      'Choose integers or fixed point for activations, or --binary-point exhaustive.',
    );
  const { low, high } = format;
  return fakeQuantize(p, x, p.scalar(scale[0] ?? 1), { low, high, zeroPoint: zeroPoint[0] ?? 0 });
}

function quantizedWeight(p: Program, scope: SliceScope, name: string, points: PointValues): Value {
  const stored = required(everyConstant(scope.model.graph).get(name), name);
  const key = weightKey(name);
  const [open, f] = [scope.points.get(key), points[key]];
  if (open !== undefined && f !== undefined) {
    const shape = stored.dims.map((_, axis) => (axis === open.axis ? -1 : 1));
    const spread = open.axis === undefined ? p.reshape(f, []) : p.reshape(f, shape);
    const w: Tensor = tensor('float32', stored.dims, toFloat32(loadTensor(stored, name)));
    return quantizeAt(p, p.constant(w), spread, open);
  }
  const planned = required(scope.plan.weights[name], name);
  const solved = required(scope.weights.get(name), name);
  const grouping = groupingOf(planned.granularity, stored.dims);
  const values = dequantize(solvedFormat(planned, solved), solved, grouping);
  return p.constant(tensor('float32', stored.dims, values));
}
