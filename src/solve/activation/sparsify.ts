/** Activation sparsity of a network: thresholds for a target, and what they cost on samples they were not chosen on. */
import { FxqError, type Context } from '../../core/index.js';
import { type Batch } from '../../engine/index.js';
import { type Model } from '../../onnx/index.js';
import { type LossKind } from '../importance/output-loss.js';
import { findActivationSites, type ActivationSite } from './sites.js';
import { openMeter, thresholdSearch, type Meter } from './thresholds.js';

/**
 * How much may be lost.
 *
 * - `cett`: the relative error of every layer's output
 * - `kl`: the output's KL divergence; a rise of the perplexity by p percent is ln(1 + p/100) (PPL-p%)
 */
export interface SparsityTarget {
  readonly kind: 'cett' | 'ppl';
  /** A share for `cett`, percent for `ppl`. */
  readonly value: number;
}

/**
 * `cett=0.2` or `ppl=1%`.
 *
 * @throws FxqError E_USAGE
 */
export function parseSparsityTarget(text: string): SparsityTarget {
  const [, cett, ppl] = /^(?:cett=)?(\d*\.?\d+)$|^ppl=(\d*\.?\d+)%?$/.exec(text.trim()) ?? [];
  const target: SparsityTarget =
    ppl === undefined ? { kind: 'cett', value: Number(cett) } : { kind: 'ppl', value: Number(ppl) };
  if (target.value > 0 && (target.kind === 'ppl' || target.value < 1)) return target;
  throw new FxqError('E_USAGE', `'${text}' is no target of activation sparsity`, [
    'Write cett=0.2 (relative error of every layer, between 0 and 1) or ppl=1% (rise of the perplexity).',
  ]);
}

/** One layer: its threshold and what it does, on samples the threshold was chosen on and on others. */
export interface SiteSparsity {
  readonly node: string;
  readonly activation: string;
  /** On contributions |x_i|·‖W[:, i]‖; 0 leaves out nothing but zeros. */
  readonly threshold: number;
  /** Share of inputs that are zero in the float network as it is. */
  readonly zeros: number;
  /** Share of inputs left out in the network where all thresholds are at work. */
  readonly sparsity: { readonly fit: number; readonly heldOut?: number };
  /** Error of this layer alone, on dense inputs. */
  readonly cett: { readonly fit: number; readonly heldOut?: number };
}

export interface NetworkSparsity {
  readonly sites: readonly SiteSparsity[];
  /** Distance of the output from the dense network's. */
  readonly loss: { readonly kind: LossKind; readonly fit: number; readonly heldOut?: number };
}

export interface SparsifyData {
  /** Samples that thresholds are chosen on, and others. */
  readonly fit: readonly Batch[];
  readonly heldOut: readonly Batch[];
}

/**
 * Chooses thresholds for every layer behind an activation function.
 *
 * @param output value whose loss counts
 * @throws FxqError E_UNSUPPORTED where there is no such layer, or `ppl` is asked of an output that is no distribution
 */
export async function sparsifyActivations(
  model: Model,
  output: string,
  target: SparsityTarget,
  data: SparsifyData,
  ctx: Context,
): Promise<NetworkSparsity & { readonly found: readonly ActivationSite[] }> {
  const found = findActivationSites(model.graph);
  if (found.length === 0) {
    throw new FxqError(
      'E_UNSUPPORTED',
      'no layer with a constant weight reads the result of an activation function',
      'Leave out --activation-sparsity.',
    );
  }
  const progress = ctx.start('Choosing activation thresholds');
  const meter = await openMeter(model, found, output, ctx);
  try {
    const thresholds = await chooseThresholds(meter, found, target, data.fit);
    const result = await measure(meter, found, thresholds, data);
    progress.finish(`Thresholds for the inputs of ${found.length} layers`);
    return { ...result, found };
  } finally {
    await meter.release();
  }
}

async function chooseThresholds(
  meter: Meter,
  sites: readonly ActivationSite[],
  target: SparsityTarget,
  fit: readonly Batch[],
): Promise<number[]> {
  const natural = await meter.dense(
    sites.map(() => 0),
    fit,
  );
  const search = thresholdSearch(
    meter,
    sites,
    fit,
    natural.map((m) => m.largest),
  );
  return target.kind === 'cett'
    ? search(target.value)
    : forLoss(meter, search, Math.log1p(target.value / 100), fit);
}

/** Bisections of the CETT that all layers share, and how close to the wanted loss is close enough. */
const BISECTIONS = 14;
const TOLERANCE = 0.02;

/** One CETT for all layers at which the output's KL divergence is the wanted one. */
async function forLoss(
  meter: Meter,
  search: (cett: number) => Promise<number[]>,
  wanted: number,
  fit: readonly Batch[],
): Promise<number[]> {
  let [low, high] = [0, 1];
  let best: number[] | undefined;
  for (let i = 0; i < BISECTIONS; i++) {
    const middle = (low + high) / 2;
    const thresholds = await search(middle);
    const { loss, kind } = await meter.sparse(thresholds, fit);
    if (kind === 'relative') {
      throw new FxqError(
        'E_UNSUPPORTED',
        'a rise of the perplexity is asked for, but the first output is no distribution and no row of scores',
        'Use --activation-sparsity cett=0.1.',
      );
    }
    if (loss <= wanted) [low, best] = [middle, thresholds];
    else high = middle;
    if (loss <= wanted && loss >= (1 - TOLERANCE) * wanted) break;
  }
  return best ?? search(low);
}

async function measure(
  meter: Meter,
  sites: readonly ActivationSite[],
  thresholds: readonly number[],
  { fit, heldOut }: SparsifyData,
): Promise<NetworkSparsity> {
  const natural = await meter.dense(
    sites.map(() => 0),
    fit,
  );
  const [alone, network] = [await meter.dense(thresholds, fit), await meter.sparse(thresholds, fit)];
  const apart =
    heldOut.length === 0
      ? undefined
      : { alone: await meter.dense(thresholds, heldOut), network: await meter.sparse(thresholds, heldOut) };
  const both = (fit: number | undefined, heldOut: number | undefined): { fit: number; heldOut?: number } => ({
    fit: fit ?? NaN,
    ...(heldOut === undefined ? {} : { heldOut }),
  });
  return {
    sites: sites.map(({ layer, activation }, i) => ({
      node: layer.node.name,
      activation,
      threshold: thresholds[i] ?? 0,
      zeros: natural[i]?.sparsity ?? NaN,
      sparsity: both(network.sparsity[i], apart?.network.sparsity[i]),
      cett: both(alone[i]?.cett, apart?.alone[i]?.cett),
    })),
    loss: { kind: network.kind, ...both(network.loss, apart?.network.loss) },
  };
}
