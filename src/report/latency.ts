/** Wall time of two models, measured in turns so that whatever else the machine does meets both alike. */
import { checkAbort, type Context } from '../core/index.js';
import { type Feeds, type Session } from '../engine/index.js';
import { type Timing } from './result.js';

export interface LatencyOptions {
  /** Measured runs of each model. */
  readonly runs: number;
  /** Milliseconds since any fixed moment. */
  readonly clock: () => number;
}

/** Runs that are not counted: the first ones allocate and warm caches. */
const WARM_UP = 3;

/** Median and quartiles of single runs, float and quantized alternating, the order swapped every time. */
export async function measureLatency(
  float: Session,
  quantized: Session,
  feeds: Feeds,
  { runs, clock }: LatencyOptions,
  ctx: Context,
): Promise<{ readonly float: Timing; readonly quantized: Timing }> {
  const times = { float: [] as number[], quantized: [] as number[] };
  const measure = async (session: Session, into: number[], counts: boolean): Promise<void> => {
    const start = clock();
    await session.run(feeds);
    if (counts) into.push(clock() - start);
  };
  const progress = ctx.start('Measuring latency', runs);
  for (let i = -WARM_UP; i < runs; i++) {
    checkAbort(ctx);
    const first = i % 2 === 0;
    if (first) await measure(float, times.float, i >= 0);
    await measure(quantized, times.quantized, i >= 0);
    if (!first) await measure(float, times.float, i >= 0);
    progress.update(Math.max(i + 1, 0));
  }
  progress.finish();
  return { float: summarize(times.float), quantized: summarize(times.quantized) };
}

function summarize(times: readonly number[]): Timing {
  const sorted = [...times].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), low: quantile(sorted, 0.25), high: quantile(sorted, 0.75) };
}

/** Quantile of sorted values, linear between neighbours. */
function quantile(sorted: readonly number[], q: number): number {
  const at = q * (sorted.length - 1);
  const low = Math.floor(at);
  const a = sorted[low] ?? NaN;
  const b = sorted[Math.ceil(at)] ?? a;
  return a + (b - a) * (at - low);
}
