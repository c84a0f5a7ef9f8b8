/** Wall time of two models, measured in turns so that whatever else the machine does meets both alike. */
import { checkAbort, type Context } from '../core/index.js';
import { type Feeds, type Session } from '../engine/index.js';
import { type Timing } from './result.js';

export interface LatencyOptions {
  /** Measured runs of each model; `auto` for as many as take about {@link AUTO_TIME}. */
  readonly runs: number | 'auto';
  /** Milliseconds since any fixed moment. */
  readonly clock: () => number;
}

/** Runs that are not counted: the first ones allocate and warm caches. */
const WARM_UP = 3;

/** Milliseconds for all measured runs of both models, and how many runs that may mean. */
const AUTO_TIME = 2000;
const AUTO_RUNS = { least: 20, most: 500 } as const;

/** Median and quartiles of single runs, float and quantized alternating, the order swapped every time. */
export async function measureLatency(
  float: Session,
  quantized: Session,
  feeds: Feeds,
  { runs, clock }: LatencyOptions,
  ctx: Context,
): Promise<{ readonly float: Timing; readonly quantized: Timing; readonly runs: number }> {
  const times = { float: [] as number[], quantized: [] as number[] };
  const measure = async (session: Session, into: number[]): Promise<void> => {
    const start = clock();
    await session.run(feeds);
    into.push(clock() - start);
  };
  const round = async (i: number): Promise<void> => {
    checkAbort(ctx);
    const floatFirst = i % 2 === 0;
    if (floatFirst) await measure(float, times.float);
    await measure(quantized, times.quantized);
    if (!floatFirst) await measure(float, times.float);
  };
  for (let i = 0; i < WARM_UP; i++) await round(i);
  const count = runs === 'auto' ? runsFor(Math.min(...times.float) + Math.min(...times.quantized)) : runs;
  times.float.length = times.quantized.length = 0;
  const progress = ctx.start('Measuring latency', count);
  for (let i = 0; i < count; i++) {
    await round(i);
    progress.update(i + 1);
  }
  progress.finish();
  return { float: summarize(times.float), quantized: summarize(times.quantized), runs: count };
}

function runsFor(milliseconds: number): number {
  const fitting = Math.floor(AUTO_TIME / Math.max(milliseconds, 1e-3));
  return Math.min(Math.max(fitting, AUTO_RUNS.least), AUTO_RUNS.most);
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
