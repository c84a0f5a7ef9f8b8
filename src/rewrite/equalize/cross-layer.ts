/**
 * Cross-layer equalization (Nagel et al., arXiv 1906.04721, section 4.1): channels between two layers are rescaled until
 * the rows that make a channel reach as far as the columns that read it. One scale for a whole weight then fits all.
 */
import { type Model } from '../../onnx/index.js';
import { findChannelGroups } from './channel-groups.js';
import { type ChannelGroup, type ScaledConstant, type Shapes } from './group.js';
import { openWeights, rescaledModel, type ScaledWeights } from './rescale.js';

/** What equalization did to the channels between some layers. */
export interface EqualizedGroup {
  /** Nodes that make the channels, and layers that read them. */
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly channels: number;
  readonly before: Unevenness;
  readonly after: Unevenness;
}

/** How unlike the channels of a group are, dead ones left out, in the rows that make them and the columns that read them. */
export interface Unevenness {
  /** Reach of the widest channel over that of the narrowest, the larger of both sides. */
  readonly ratio: number;
  /** Bits of resolution that a scale for the whole weight costs the mean channel, mean of both sides. */
  readonly bits: number;
}

export interface Equalized {
  readonly model: Model;
  readonly groups: readonly EqualizedGroup[];
  /** Why channels behind a layer stay, by value. */
  readonly refused: ReadonlyMap<string, string>;
}

/** Chains of layers settle slowly; beyond this many rounds nothing visible happens. */
const MAX_ROUNDS = 200;
/** Largest change of a scale that counts as settled. */
const SETTLED = 1e-3;
/** Share of the widest channel below which one counts as dead: it fits any scale and keeps the one it has. */
const DEAD = 1e-6;

/** Largest magnitude that each channel of a value was seen to have, or undefined where nobody looked. */
export type ReachOf = (value: string) => ArrayLike<number> | undefined;

/** Values whose channel reach {@link equalizeCrossLayer} asks for. */
export function valuesToEqualize({ graph }: Model, shapes: Shapes): string[] {
  return [...new Set(findChannelGroups(graph, shapes).groups.flatMap(inputsOf))];
}

/**
 * Equalizes every group of channels that layers alone make.
 *
 * With r₁ and r₂ the reach of a channel in producers and consumers, s = √(r₁r₂)/r₂ makes both √(r₁r₂), and dividing all s
 * by their geometric mean keeps the size of the values. No channel may come to reach farther than the widest did before:
 * a channel with tiny weights and a large bias would take the whole range of the activation. Groups that share a layer
 * (both sides of a depthwise convolution) pull at each other, so all are visited in turn until no scale changes.
 *
 * @param shapes   of all values
 * @param reachOf  what calibration saw; without it the biases stand for the values
 * @param isWanted whether a node may be changed, by name
 */
export function equalizeCrossLayer(
  model: Model,
  shapes: Shapes,
  reachOf: ReachOf = () => undefined,
  isWanted: (node: string) => boolean = () => true,
): Equalized {
  const found = findChannelGroups(model.graph, shapes);
  const groups = found.groups.filter(
    ({ producers, consumers }) =>
      producers.some((p) => p.part === 'weight') &&
      [...producers, ...consumers].every(({ node }) => isWanted(node.name)) &&
      !producers.some((p) => /Normalization$/.test(p.node.opType)),
  );
  if (groups.length === 0) return { model, groups: [], refused: found.refused };
  const weights = openWeights(model, groups);
  const states = groups.map((group) => startState(group, weights, reachOf));
  for (let round = 0, change = Infinity; change > SETTLED && round < MAX_ROUNDS; round++) {
    change = 0;
    for (const state of states) {
      const scales = balancingScales(state, weights);
      const step = scales.reduce((most, s) => Math.max(most, Math.abs(Math.log(s))), 0);
      if (step <= SETTLED) continue;
      weights.apply(state.group, scales);
      scales.forEach((s, c) => (state.reach[c] = (state.reach[c] as number) / s));
      state.moved = true;
      change = Math.max(change, step);
    }
  }
  const changed = states.filter((state) => state.moved);
  const reports = changed.map(({ group, before }) => ({
    from: nodesOf(group.producers.filter((p) => p.part === 'weight')),
    to: nodesOf(group.consumers),
    channels: group.channels,
    before,
    after: unevenness(group, weights),
  }));
  const after = rescaledModel(
    model,
    changed.map(({ group }) => group),
    weights,
  );
  return { model: changed.length === 0 ? model : after, groups: reports, refused: found.refused };
}

/** A group on its way. */
interface GroupState {
  readonly group: ChannelGroup;
  /** Largest magnitude of every channel of the values, as scaled so far; [channels]. */
  readonly reach: Float64Array;
  /** What no channel may exceed. */
  readonly limit: number;
  readonly before: Unevenness;
  moved: boolean;
}

function startState(group: ChannelGroup, weights: ScaledWeights, reachOf: ReachOf): GroupState {
  const reach = new Float64Array(group.channels);
  const widen = (c: number, size: number): void => {
    if (Number.isFinite(size)) reach[c] = Math.max(reach[c] as number, size);
  };
  const seen = inputsOf(group).map(reachOf);
  if (seen.every((s) => s?.length === group.channels))
    for (const s of seen) Array.from(s ?? [], (size, c) => widen(c, size));
  else
    for (const { part, initializer, channelOf } of group.producers)
      if (part === 'vector')
        weights.values.get(initializer)?.forEach((b, i) => widen(channelOf(i), Math.abs(b)));
  const limit = reach.reduce((a, b) => Math.max(a, b), 0);
  return { group, reach, limit, before: unevenness(group, weights), moved: false };
}

/** What the layers at the end of a group read. */
function inputsOf({ consumers }: ChannelGroup): string[] {
  return [...new Set(consumers.map(({ node }) => node.inputs[0] ?? ''))];
}

/** Names of the nodes that read constants, each once. */
export function nodesOf(constants: readonly ScaledConstant[]): string[] {
  return [...new Set(constants.map(({ node }) => node.name))];
}

/** Largest magnitude of every channel over several weights, [channels]. */
export function channelReach(
  constants: readonly ScaledConstant[],
  channels: number,
  { values }: Pick<ScaledWeights, 'values'>,
): Float64Array {
  const reach = new Float64Array(channels);
  for (const { initializer, part, channelOf } of constants) {
    if (part !== 'weight') continue;
    values.get(initializer)?.forEach((w, i) => {
      const c = channelOf(i);
      reach[c] = Math.max(reach[c] as number, Math.abs(w));
    });
  }
  return reach;
}

function balancingScales(
  { group: { producers, consumers, channels }, reach, limit }: GroupState,
  weights: ScaledWeights,
): Float64Array {
  const made = channelReach(producers, channels, weights);
  const read = channelReach(consumers, channels, weights);
  const dead = [made, read].map((r) => DEAD * r.reduce((a, b) => Math.max(a, b), 0)) as [number, number];
  const isAlive = (c: number): boolean => (made[c] as number) > dead[0] && (read[c] as number) > dead[1];
  const logs = made.map((r1, c) => (isAlive(c) ? Math.log(r1 / (read[c] as number)) / 2 : NaN));
  const alive = logs.filter((l) => !Number.isNaN(l));
  const mean = alive.reduce((a, b) => a + b, 0) / Math.max(alive.length, 1);
  return logs.map((log, c) => {
    if (Number.isNaN(log)) return 1;
    const wanted = Math.exp(log - mean);
    return limit === 0 ? wanted : Math.max(wanted, (reach[c] as number) / limit);
  });
}

function unevenness({ producers, consumers, channels }: ChannelGroup, weights: ScaledWeights): Unevenness {
  const sides = [producers, consumers].map((side) => {
    const all = channelReach(side, channels, weights);
    const most = all.reduce((a, b) => Math.max(a, b), 0);
    const reach = all.filter((r) => r > DEAD * most);
    const least = reach.reduce((a, b) => Math.min(a, b), Infinity);
    const bits = reach.reduce((sum, r) => sum + Math.log2(most / r), 0) / Math.max(reach.length, 1);
    return { ratio: reach.length === 0 ? 1 : most / least, bits };
  });
  return {
    ratio: Math.max(...sides.map((s) => s.ratio)),
    bits: sides.reduce((sum, s) => sum + s.bits, 0) / sides.length,
  };
}
