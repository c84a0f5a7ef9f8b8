/** The reference: the loss of the output with one group at one candidate, running only what lies behind the change. */
import { checkAbort, required, sha256, type Context } from '../../core/index.js';
import { openSession } from '../../engine/index.js';
import { withGraph, type Node } from '../../onnx/index.js';
import { type Tensor } from '../../tensor/index.js';
import { cached } from '../cache.js';
import { countMacs } from '../costs/index.js';
import { sliceGraph, tensorAt, walkCuts, type Cut } from '../cuts.js';
import { candidateId } from '../layers.js';
import { feedsOf, portsOf, simulate, type Realization } from '../simulate.js';
import { sampleLosses } from '../../solve/index.js';
import { isFloat, type Sensitivity, type Study, type StudyGroup } from './study.js';

/**
 * Measures every candidate of every group.
 *
 * The model is walked once, front to back; before a group's first layer the rest of the network is compiled with that
 * group's weights as inputs, and run for each candidate from the values computed so far.
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
    losses[g] = await remembered(study, group, base, () => measureGroup(study, group, base, cut, ctx));
    const changing = group.candidates.filter((c) => base.size > 0 || !isFloat(c)).length;
    runs += changing * macs.slice(cut.position).reduce((a, b) => a + b, 0);
    progress.update(++done);
  }
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
  base: ReadonlyMap<string, Realization>,
  measure: () => Promise<Tally[]>,
): Promise<Tally[]> {
  if (memory === undefined) return measure();
  const others = [...base].map(([node, { weight, activation }]) => [
    node,
    sha256(bytesOf(weight)),
    activation,
  ]);
  const key = [memory.key, group.layers.map((l) => l.node), group.candidates.map(candidateId), others];
  return cached(memory.cache, key, measure);
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

async function measureGroup(
  study: Study,
  group: StudyGroup,
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
    for (const candidate of group.candidates) {
      if (base.size === 0 && isFloat(candidate)) {
        tallies.push([0]);
        continue;
      }
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
