/** The reference: the loss of the output with one group at one candidate, running only what lies behind the change. */
import { checkAbort, required, sha256, type Context } from '../../core/index.js';
import { openSession } from '../../engine/index.js';
import { withGraph, type Node } from '../../onnx/index.js';
import { type Tensor } from '../../tensor/index.js';
import { cached } from '../cache.js';
import { countMacs } from '../costs/index.js';
import { sliceGraph, tensorAt, walkCuts, type Cut } from '../cuts.js';
import { candidateId, type LayerCandidate } from '../layers.js';
import { feedsOf, portsOf, simulate, type Realization } from '../simulate.js';
import { sampleLosses } from '../../solve/index.js';
import { isFloat, outputsOf, type Sensitivity, type Study, type StudyGroup } from './study.js';

/**
 * Measures every candidate of every group.
 *
 * The model is walked once, front to back; before a group's first layer the rest of the network is compiled with that
 * group's weights as inputs, and run for each candidate from the values computed so far. Rounded weights and rounded
 * inputs are measured apart and added (see `partsOf`).
 *
 * @param base candidates that the other layers are set to, by node name; float when absent
 */
export async function measureSensitivity(
  study: Study,
  ctx: Context,
  base: ReadonlyMap<string, Realization> = new Map(),
): Promise<Sensitivity> {
  const { model, batches, groups, types } = study;
  const layers = groups.flatMap((g) => g.layers);
  const fixed = withGraph(model, simulate(model.graph, layers, base));
  const starts = groups.map((group) => firstPosition(fixed.graph.nodes, group));
  const order = groups.map((_, g) => g).sort((a, b) => (starts[a] ?? 0) - (starts[b] ?? 0) || a - b);
  const losses: Tally[][] = groups.map(() => []);
  const original = new Map(model.graph.nodes.map((n) => [n.name, n]));
  const macs = fixed.graph.nodes.map((n) => countMacs(original.get(n.name) ?? n, { types }));
  const total = macs.reduce((a, b) => a + b, 0);
  let runs = total;
  const progress = ctx.start('Measuring sensitivity', order.length);
  const cuts = walkCuts(
    fixed,
    batches,
    order.map((g) => starts[g] ?? 0),
    ctx,
  );
  let done = 0;
  for await (const cut of cuts) {
    checkAbort(ctx);
    const g = required(order[done], 'a group');
    const group = required(groups[g], 'a group');
    const parts = partsOf(group, base.size > 0);
    const measured = await remembered(study, group, parts.all, base, () =>
      measureGroup(study, group, parts.all, base, cut, ctx),
    );
    losses[g] = parts.combine(measured);
    runs +=
      parts.all.filter((p) => base.size > 0 || !isFloat(p)).length *
      macs.slice(cut.position).reduce((a, b) => a + b, 0);
    progress.update(++done);
  }
  if (base.size === 0) runs += (await addCommonInputs(study, losses, ctx)) * total;
  progress.finish();
  return {
    method: 'measured',
    loss: losses.map((group) => group.map((t) => mean(t, 0, 1))),
    halves: [
      losses.map((group) => group.map((t) => mean(t, 0, 2))),
      losses.map((group) => group.map((t) => mean(t, 1, 2))),
    ],
    work: total === 0 ? 0 : runs / total,
  };
}

/** Runs of one group, and what they make of its candidates. */
interface Parts {
  readonly all: readonly LayerCandidate[];
  combine(measured: readonly Tally[]): Tally[];
}

/**
 * What is measured of a group. Around a float network rounding noise of weights and of inputs adds up, so `w` weights
 * and `a` input formats take w + a runs instead of w·a, and the product of the two errors of one draw, which is as often
 * positive as negative, does not blur the comparison of weight formats. Where all candidates round inputs alike, only
 * the weights are measured (see `addCommonInputs`); around other candidates, every candidate is.
 */
function partsOf({ candidates }: StudyGroup, hasBase: boolean): Parts {
  if (hasBase) return { all: candidates, combine: (measured) => [...measured] };
  const isCommon = commonInput(candidates) !== undefined;
  const partIds = candidates.map((c) => {
    const weight: LayerCandidate = { ...c, activations: 'float' };
    const input: LayerCandidate = { ...FLOAT, activations: c.activations };
    return (isCommon ? [weight] : [weight, input]).filter((p) => !isFloat(p));
  });
  const all = new Map(partIds.flat().map((p) => [candidateId(p), p]));
  const places = new Map([...all.keys()].map((id, i) => [id, i]));
  return {
    all: [...all.values()],
    combine: (measured) =>
      partIds.map((parts) => sum(parts.map((p) => measured[places.get(candidateId(p)) ?? -1] ?? []))),
  };
}

const FLOAT: LayerCandidate = {
  weights: 'float',
  activations: 'float',
  granularity: 'tensor',
  solver: 'none',
};

/** The input format of all candidates of a group, where they agree in it and it is no float. */
function commonInput(candidates: readonly LayerCandidate[]): string | undefined {
  const [first] = candidates;
  if (first === undefined || first.activations === 'float') return undefined;
  return candidates.every((c) => c.activations === first.activations) ? first.activations : undefined;
}

/**
 * Inputs that are rounded whatever is chosen are measured in one run of all of them; each group gets an equal share, so
 * that losses add up to what the whole loses. Returns the number of runs.
 */
async function addCommonInputs(study: Study, losses: Tally[][], ctx: Context): Promise<number> {
  const { model, batches, output, groups, realize, reference } = study;
  const common = new Map<string, Realization>();
  const sharing = groups.map(({ candidates }) => commonInput(candidates));
  for (const [g, activations] of sharing.entries())
    for (const layer of activations === undefined ? [] : required(groups[g], 'a group').layers)
      common.set(layer.node, await realize(layer, { ...FLOAT, activations: activations ?? 'float' }));
  if (common.size === 0) return 0;
  const layers = groups.flatMap((g) => g.layers);
  const rounded = withGraph(model, simulate(model.graph, layers, common));
  const actual = await outputsOf(rounded, batches, output, ctx);
  const shares = sharing.filter((a) => a !== undefined).length;
  const share = actual.flatMap((t, b) =>
    Array.from(sampleLosses(study.loss, required(reference[b], 'a reference'), t), (l) => l / shares),
  );
  for (const [g, activations] of sharing.entries())
    if (activations !== undefined) losses[g] = required(losses[g], 'losses').map((t) => sum([t, share]));
  return 1;
}

/** Sample by sample; nothing at all is no loss. */
function sum(tallies: readonly Tally[]): Tally {
  const longest = tallies.reduce((n, t) => Math.max(n, t.length), 1);
  return Array.from({ length: longest }, (_, i) => tallies.reduce((s, t) => s + (t[i] ?? 0), 0));
}

/** Losses of all samples, in order. */
type Tally = readonly number[];

function mean(losses: Tally, from: number, step: number): number {
  let [sum, count] = [0, 0];
  for (let i = from; i < losses.length; i += step, count++) sum += losses[i] as number;
  return count === 0 ? 0 : sum / count;
}

/** Position of the first node that belongs to the group: what is added before a layer comes with it. */
function firstPosition(nodes: readonly Node[], { layers }: StudyGroup): number {
  const names = new Set(layers.map((l) => l.node));
  const first = nodes.findIndex(
    (n) => names.has(n.name) || [...names].some((name) => n.name.startsWith(`${name}:`)),
  );
  return Math.max(first, 0);
}

function remembered(
  { memory }: Study,
  group: StudyGroup,
  parts: readonly LayerCandidate[],
  base: ReadonlyMap<string, Realization>,
  measure: () => Promise<Tally[]>,
): Promise<Tally[]> {
  if (memory === undefined) return measure();
  const others = [...base].map(([node, { weight, activation }]) => [
    node,
    sha256(bytesOf(weight)),
    activation,
  ]);
  const key = [memory.key, group.layers.map((l) => l.node), parts.map(candidateId), others];
  return cached(memory.cache, key, measure);
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

async function measureGroup(
  study: Study,
  group: StudyGroup,
  candidates: readonly LayerCandidate[],
  base: ReadonlyMap<string, Realization>,
  { position, live }: Cut,
  ctx: Context,
): Promise<Tally[]> {
  const { model, batches, output, groups, realize } = study;
  const others = new Map(base);
  for (const { node } of group.layers) others.delete(node);
  const open = new Set(group.layers.map((l) => l.node));
  const graph = simulate(
    model.graph,
    groups.flatMap((g) => g.layers),
    others,
    open,
  );
  const rest = graph.nodes.slice(position);
  const ports = new Set(group.layers.flatMap((l) => Object.values(portsOf(l)) as string[]));
  const slice = sliceGraph(
    withGraph(model, graph),
    rest,
    live,
    [output],
    graph.inputs.filter((v) => ports.has(v.name)),
  );
  const session = await openSession(slice, { threads: ctx.threads });
  try {
    const tallies: Tally[] = [];
    for (const candidate of candidates) {
      const settings: [string, Tensor][] = [];
      for (const layer of group.layers) settings.push(...feedsOf(layer, await realize(layer, candidate)));
      const losses: number[] = [];
      for (let b = 0; b < batches.length; b++) {
        const values = session.inputs
          .filter((v) => !ports.has(v.name))
          .map((v) => [v.name, tensorAt(live, v.name, b)] as const);
        const given = settings.filter(([name]) => session.inputs.some((v) => v.name === name));
        const result = await session.run(new Map<string, Tensor>([...values, ...given]), [output]);
        losses.push(
          ...sampleLosses(
            study.loss,
            required(study.reference[b], 'a reference'),
            required(result.get(output), output),
          ),
        );
      }
      tallies.push(losses);
    }
    return tallies;
  } finally {
    await session.release();
  }
}
