/**
 * Thresholds by CETT, the cumulative error of tail truncation (Sparsing Law, arXiv 2411.02335): the largest threshold on
 * contributions |x_i|·‖W[:, i]‖ at which leaving out everything below costs the layer's output no more than a target.
 */
import { checkAbort, required, type Context } from '../../core/index.js';
import { openSession, type Batch, type Feeds } from '../../engine/index.js';
import { type Model } from '../../onnx/index.js';
import { tensor, type Tensor } from '../../tensor/index.js';
import { chooseLoss, sampleLosses, type LossKind } from '../importance/output-loss.js';
import { channelLimits, limitShape, type ActivationSite } from './sites.js';
import { measuringModel, type SiteProbe } from './shrink.js';

/** What given thresholds do to one layer, on some samples. */
export interface SiteMeasure {
  /** Mean over output vectors of ‖dropped‖ / ‖output‖. */
  readonly cett: number;
  /** Share of inputs left out. */
  readonly sparsity: number;
  /** Largest contribution |x_i|·‖W[:, i]‖ there can be, from the largest input and the largest norm. */
  readonly largest: number;
}

/** What thresholds do to the whole network. */
export interface NetworkMeasure {
  readonly kind: LossKind;
  /** Mean over samples, against the dense network. */
  readonly loss: number;
  /** Share of inputs left out, by site. */
  readonly sparsity: readonly number[];
}

/** Runs thresholds, one a site, over samples. */
export interface Meter {
  readonly dense: (thresholds: readonly number[], batches: readonly Batch[]) => Promise<SiteMeasure[]>;
  readonly sparse: (thresholds: readonly number[], batches: readonly Batch[]) => Promise<NetworkMeasure>;
  readonly release: () => Promise<void>;
}

/**
 * Opens the measuring sessions. They run with one thread: a sum must not depend on how many there are.
 *
 * @param output of the model whose loss counts
 */
export async function openMeter(
  model: Model,
  sites: readonly ActivationSite[],
  output: string,
  ctx: Context,
): Promise<Meter> {
  const [dense, sparse] = [
    measuringModel(model, sites, 'dense', []),
    measuringModel(model, sites, 'sparse', [output]),
  ];
  const sessions = [
    await openSession(dense.model, { threads: 1 }),
    await openSession(sparse.model, { threads: 1 }),
  ] as const;
  const references = new Map<Batch, Tensor>();
  const feeds = (probes: readonly SiteProbe[], thresholds: readonly number[], batch: Batch): Feeds =>
    new Map([
      ...batch.inputs,
      ...probes.map(({ limits }, i): [string, Tensor] => {
        const site = required(sites[i], limits);
        return [limits, tensor('float32', limitShape(site), channelLimits(site, thresholds[i] ?? 0))];
      }),
    ]);
  const count = (values: ReadonlyMap<string, Tensor>, name = ''): number =>
    Number(values.get(name)?.data[0] ?? NaN);
  const add = (sums: Float64Array, i: number, x: number): void => void (sums[i] = (sums[i] as number) + x);
  return {
    async dense(thresholds, batches) {
      const zeros = (): Float64Array => new Float64Array(sites.length);
      const [error, vectors, dropped, total, largest] = [zeros(), zeros(), zeros(), zeros(), zeros()];
      for (const batch of batches) {
        checkAbort(ctx);
        const values = await sessions[0].run(feeds(dense.probes, thresholds, batch));
        dense.probes.forEach((probe, i) => {
          add(error, i, count(values, probe.error));
          add(vectors, i, count(values, probe.vectors));
          add(dropped, i, count(values, probe.dropped));
          add(total, i, count(values, probe.total));
          largest[i] = Math.max(largest[i] as number, count(values, probe.largest));
        });
      }
      return sites.map(({ norms }, i) => ({
        cett: (error[i] as number) / (vectors[i] as number),
        sparsity: (dropped[i] as number) / (total[i] as number),
        largest: (largest[i] as number) * norms.reduce((a, b) => Math.max(a, b), 0),
      }));
    },
    async sparse(thresholds, batches) {
      const [dropped, total] = [new Float64Array(sites.length), new Float64Array(sites.length)];
      let loss = 0;
      let samples = 0;
      let kind: LossKind = 'relative';
      for (const batch of batches) {
        checkAbort(ctx);
        const at = async (t: readonly number[]): Promise<Map<string, Tensor>> =>
          sessions[1].run(feeds(sparse.probes, t, batch));
        const reference =
          references.get(batch) ?? required((await at(sites.map(() => 0))).get(output), output);
        references.set(batch, reference);
        const values = await at(thresholds);
        kind = chooseLoss(reference);
        const losses = sampleLosses(kind, reference, required(values.get(output), output));
        loss += losses.reduce((a, b) => a + b, 0);
        samples += losses.length;
        sparse.probes.forEach((probe, i) => {
          add(dropped, i, count(values, probe.dropped));
          add(total, i, count(values, probe.total));
        });
      }
      return {
        kind,
        loss: loss / samples,
        sparsity: sites.map((_, i) => (dropped[i] as number) / (total[i] as number)),
      };
    },
    release: async () => {
      await Promise.all(sessions.map((session) => session.release()));
    },
  };
}

/** Octaves below the largest contribution that are looked at, and how fine the answer is. */
const OCTAVES = 24;
const RESOLUTION = 2 ** -8;

/** Finds thresholds for one CETT target after another; what was measured for one narrows the search for the next. */
export function thresholdSearch(
  meter: Pick<Meter, 'dense'>,
  sites: readonly ActivationSite[],
  batches: readonly Batch[],
  largest: readonly number[],
): (target: number) => Promise<number[]> {
  /** Exponents of thresholds tried, with their CETT, by site. */
  const known = sites.map(() => new Map<number, number>());
  return async (target) => {
    const top = largest.map((x) => Math.log2(Math.max(x, 2 ** -100)));
    const low = top.map((t, i) => bestBelow(known[i], target) ?? t - OCTAVES);
    const high = top.map((t, i) => leastAbove(known[i], target) ?? t);
    const isOpen = (i: number): boolean => (high[i] as number) - (low[i] as number) > RESOLUTION;
    while (sites.some((_, i) => isOpen(i))) {
      const middle = sites.map((_, i) => ((low[i] as number) + (high[i] as number)) / 2);
      const measures = await meter.dense(
        middle.map((e) => 2 ** e),
        batches,
      );
      measures.forEach(({ cett }, i) => {
        const at = middle[i] as number;
        known[i]?.set(at, cett);
        if (!isOpen(i)) return;
        if (cett <= target) low[i] = at;
        else high[i] = at;
      });
    }
    // A target below what the least threshold costs is met by leaving out zeros alone.
    return low.map((e, i) => (known[i]?.has(e) === true ? 2 ** e : 0));
  };
}

function bestBelow(known: ReadonlyMap<number, number> | undefined, target: number): number | undefined {
  const below = [...(known ?? [])].filter(([, cett]) => cett <= target).map(([e]) => e);
  return below.length === 0 ? undefined : Math.max(...below);
}

function leastAbove(known: ReadonlyMap<number, number> | undefined, target: number): number | undefined {
  const above = [...(known ?? [])].filter(([, cett]) => cett > target).map(([e]) => e);
  return above.length === 0 ? undefined : Math.min(...above);
}
