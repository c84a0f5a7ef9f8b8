/** Operators that pass a positive factor a channel on: f(s ⊙ x) = s ⊙ f(x). */
import {
  describeNode,
  intAttribute,
  intsAttribute,
  stringAttribute,
  type Dim,
  type Node,
} from '../../onnx/index.js';
import { sizeOf, toFloat32, toNumbers } from '../../tensor/index.js';
import { type GrowingGroup, type Obstacle, type Place } from './group.js';
import { alongAxis } from './ends.js';

interface Carrier {
  /** Why this node is none after all. */
  readonly refuses?: (node: Node, group: GrowingGroup) => string | undefined;
  /** Adds the other values of a node, one of whose values is in the group. */
  readonly carry: (node: Node, group: GrowingGroup, value: string) => Obstacle;
  /** What must hold once the group is complete. */
  readonly check?: (node: Node, group: GrowingGroup) => Obstacle;
}

/** The carrier at a node, or undefined when factors end there. */
export function carrierOf(node: Node, group: GrowingGroup): Carrier | undefined {
  const carrier = node.domain === '' ? CARRIERS[node.opType] : undefined;
  const refusal = carrier?.refuses?.(node, group);
  return refusal === undefined ? carrier : { carry: () => refusal };
}

/** One value in, one out, with channels in the same place. */
const same: Carrier = {
  carry: (node, group, value) => {
    const place = group.place(value);
    return group.join(node.inputs[0], place) ?? group.join(node.outputs[0], place);
  },
};

/** Works on each channel by itself, channels being axis 1. */
const perChannel: Carrier = {
  carry: (node, group, value) => {
    const place = group.place(value);
    if (place?.axis !== 1 || place.inner !== 1 || node.outputs.length > 1)
      return `${describeNode(node)} mixes channels`;
    return same.carry(node, group, value);
  },
};

/** Homogeneous as long as the channel axis keeps its length, which `join` checks. */
const exceptAxis = (refuses: (node: Node, group: GrowingGroup) => string | undefined): Carrier => ({
  ...same,
  refuses,
});

const transpose: Carrier = {
  carry: (node, group, value) => {
    const rank = group.dims(value)?.length ?? 0;
    const perm = intsAttribute(
      node,
      'perm',
      Array.from({ length: rank }, (_, i) => rank - 1 - i),
    );
    const place = group.place(value);
    if (place === undefined) return undefined;
    const isOutput = node.outputs[0] === value;
    const axis = isOutput ? (perm[place.axis] ?? -1) : perm.indexOf(place.axis);
    return group.join(isOutput ? node.inputs[0] : node.outputs[0], { ...place, axis });
  },
};

/** Another shape for the same elements in the same order. */
const reshape: Carrier = {
  carry: (node, group, value) => {
    const other = node.outputs[0] === value ? node.inputs[0] : node.outputs[0];
    return group.join(other, placeIn(group.dims(other ?? ''), group.dims(value), group.place(value)));
  },
};

/**
 * Where channels lie in another shape. Axes in front may have unknown sizes: with as many elements from the channel axis
 * on, the blocks of channels are the same.
 */
export function placeIn(
  to: readonly Dim[] | undefined,
  from: readonly Dim[] | undefined,
  place: Place | undefined,
): Place | undefined {
  if (to === undefined || from === undefined || place === undefined) return undefined;
  const tail = (dims: readonly Dim[], axis: number): number =>
    dims.slice(axis).reduce<number>((product, d) => (typeof d === 'number' ? product * d : NaN), 1);
  const [block, behind] = [tail(from, place.axis), tail(from, place.axis + 1)];
  const axis = to.findIndex((d, i) => typeof d === 'number' && d > 1 && tail(to, i) === block);
  const inner = (place.inner * behind) / tail(to, axis + 1);
  return axis >= 0 && Number.isInteger(inner) && inner > 0 ? { axis, inner } : undefined;
}

/** Where the channels of a node's result lie in one of its operands. */
function operandPlace(group: GrowingGroup, node: Node, operand: string, place: Place): Place {
  const shift = (group.dims(node.outputs[0] ?? '')?.length ?? 0) - (group.dims(operand)?.length ?? 0);
  return { ...place, axis: place.axis - shift };
}

/** The place of channels in a node's result, from whichever of its values is known. */
function resultPlace(group: GrowingGroup, node: Node, value: string): Place | undefined {
  const place = group.place(value);
  if (place === undefined || node.outputs[0] === value) return place;
  const shift = (group.dims(node.outputs[0] ?? '')?.length ?? 0) - (group.dims(value)?.length ?? 0);
  return { ...place, axis: place.axis + shift };
}

/** Divides a constant operand; it must have an element for every channel. */
function rescaleOperand(group: GrowingGroup, node: Node, name: string, place: Place): Obstacle {
  const at = operandPlace(group, node, name, place);
  const dims = group.graph.constant(name)?.dims ?? [];
  if (dims[at.axis] !== group.channels * at.inner) return `'${name}' is not one number a channel`;
  return group.scale('producers', {
    initializer: name,
    node,
    part: 'vector',
    channelOf: alongAxis(dims, at),
  });
}

/** Sums: every operand is divided alike. */
const sum: Carrier = {
  carry: (node, group, value) => {
    const place = resultPlace(group, node, value);
    if (place === undefined) return undefined;
    for (const operand of node.inputs) {
      const obstacle =
        group.graph.constant(operand) === undefined
          ? group.join(operand, operandPlace(group, node, operand, place))
          : rescaleOperand(group, node, operand, place);
      if (obstacle !== undefined) return obstacle;
    }
    return group.join(node.outputs[0], place);
  },
};

/** Products pass on the factor of one operand; a constant one takes it itself when nothing else brings it. */
const product: Carrier = {
  carry: (node, group, value) => {
    const place = resultPlace(group, node, value);
    if (place === undefined) return undefined;
    if (node.outputs[0] !== value) return group.join(node.outputs[0], place);
    if (node.inputs.some((operand) => group.place(operand) !== undefined)) return undefined;
    const constants = node.inputs.filter((operand) => group.graph.constant(operand) !== undefined);
    const [gain] = constants.filter((name) => sizeOf(group.graph.constant(name)?.dims ?? []) > 1);
    if (gain !== undefined) return rescaleOperand(group, node, gain, place);
    const others = node.inputs.filter((operand) => !constants.includes(operand));
    const [only] = others;
    return others.length === 1 && only !== undefined
      ? group.join(only, operandPlace(group, node, only, place))
      : `either operand of ${describeNode(node)} could bring the factor`;
  },
  check: (node, group) => {
    const factors = node.inputs.filter(
      (operand) => group.place(operand) !== undefined || group.isDivided(operand),
    );
    return factors.length > 1 ? `both operands of ${describeNode(node)} would bring the factor` : undefined;
  },
};

const quotient: Carrier = {
  carry: (node, group, value) => {
    const [numerator, divisor] = node.inputs;
    const place = resultPlace(group, node, value);
    if (place === undefined) return undefined;
    if (divisor === value) return `${describeNode(node)} divides by '${value}'`;
    if (numerator === undefined || group.graph.constant(numerator) !== undefined)
      return `${describeNode(node)} divides a constant`;
    return (
      group.join(numerator, operandPlace(group, node, numerator, place)) ?? group.join(node.outputs[0], place)
    );
  },
  check: (node, group) =>
    group.place(node.inputs[1] ?? '') === undefined ? undefined : `${describeNode(node)} divides by a member`,
};

/** A limit that scaling leaves where it is: 0, or none. */
function isFreeLimit(node: Node, input: number, group: GrowingGroup): boolean {
  const name = node.inputs[input] ?? '';
  if (name === '') return true;
  const limit = group.graph.constantTensor(name);
  return limit !== undefined && toFloat32(limit).every((v) => v === 0 || Math.abs(v) > 3e38);
}

const CARRIERS: Readonly<Record<string, Carrier>> = {
  Identity: same,
  Relu: same,
  LeakyRelu: same,
  PRelu: exceptAxis((node, group) =>
    group.graph.constant(node.inputs[1] ?? '') === undefined ? 'its slope is computed' : undefined,
  ),
  Clip: exceptAxis((node, group) =>
    isFreeLimit(node, 1, group) && isFreeLimit(node, 2, group)
      ? undefined
      : `${describeNode(node)} has a limit other than 0`,
  ),
  MaxPool: perChannel,
  AveragePool: perChannel,
  GlobalAveragePool: perChannel,
  GlobalMaxPool: perChannel,
  Pad: exceptAxis((node, group) => {
    const filling = group.graph.constantTensor(node.inputs[2] ?? '');
    const isZero =
      (node.inputs[2] ?? '') === '' || (filling !== undefined && toNumbers(filling).every((v) => v === 0));
    return stringAttribute(node, 'mode', 'constant') !== 'constant' || isZero
      ? undefined
      : `${describeNode(node)} pads with a value other than 0`;
  }),
  Resize: exceptAxis((node) =>
    stringAttribute(node, 'coordinate_transformation_mode', 'half_pixel') === 'tf_crop_and_resize'
      ? `${describeNode(node)} fills with a value of its own`
      : undefined,
  ),
  ReduceMean: exceptAxis((node) =>
    intAttribute(node, 'keepdims', 1) === 1 ? undefined : `${describeNode(node)} takes axes away`,
  ),
  Transpose: transpose,
  Reshape: reshape,
  Flatten: reshape,
  Squeeze: reshape,
  Unsqueeze: reshape,
  Add: sum,
  Sub: sum,
  Mul: product,
  Div: quotient,
};
