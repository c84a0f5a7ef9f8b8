/** Which samples of a data set a search fits, measures and judges with. */
import { type Context } from '../core/index.js';
import { type DataSet } from '../data/index.js';

/** What samples are for. */
export interface SharedSamples {
  /** Weights are fitted to these. */
  readonly fit: DataSet;
  /** Sensitivities are measured on these. */
  readonly study: DataSet;
  /** Written models are judged on these. */
  readonly judged: DataSet;
}

/** Samples that written models are judged on, for each one that sensitivities are measured on. */
const JUDGED_SHARE = 2;

/** Fewer samples than this tell little about which of two models is better. */
const FEW = 16;

/** Samples that weights are fitted to, at most: the more, the closer to the model that is written in the end. */
const MOST_FITTED = 1024;

/**
 * Shares samples out.
 *
 * Losses flatter weights on the samples they were fitted to, so half of the samples, at least, are for fitting alone.
 * They flatter assignments on the samples these were chosen by, too, but too few samples mislead more: models are judged
 * on others only where there are as many of those. Notes `few-samples` where the best assignment is chance.
 *
 * @param samples samples that sensitivities are measured on, at most
 */
export function shareSamples(whole: DataSet, samples: number, ctx: Pick<Context, 'note'>): SharedSamples {
  const shared = share(whole, samples);
  if (shared.judged.samples < FEW)
    ctx.note({
      level: 'warn',
      code: 'few-samples',
      message: `of ${whole.samples} samples, ${shared.judged.samples} can judge assignments: which one is best is chance then; give 100 or more`,
    });
  return shared;
}

function share(whole: DataSet, samples: number): SharedSamples {
  const half = Math.floor(whole.samples / 2);
  if (half < whole.batchSize(1)) return { fit: whole, study: whole, judged: whole };
  const [held, rest] = whole.split(Math.min(half, (1 + JUDGED_SHARE) * samples));
  const [fit] = rest.split(MOST_FITTED);
  if (held.samples <= samples) return { fit, study: held, judged: held };
  const [study, others] = held.split(samples);
  return { fit, study, judged: others.samples < study.samples ? held : others };
}
