/** Every sensitivity method beside the measured one: how alike they rank, how sure each is of itself, what each costs. */
import { FxqError, type Context } from '../../core/index.js';
import { SENSITIVITIES, type SensitivityName } from './methods.js';
import { rankAgreement, splitHalfReliability, type RankAgreement } from './ranks.js';
import { type Sensitivity, type Study } from './study.js';

const NO_GRADIENTS: ReadonlySet<string> = new Set(['E_UNSUPPORTED', 'E_OPSET']);

/** Rank correlations, from −1 to 1. */
export interface RankSummary {
  /** Of the layers at the same candidate, mean over candidates: which layer is the delicate one. */
  readonly layers?: number;
  /** Of all pairs of layer and candidate; high for any method that knows that fewer bits hurt more. */
  readonly overall: number;
}

/** What a comparison says about one method. */
export interface ComparedSensitivity {
  readonly method: string;
  /** Forward passes over the same samples that take as many multiplications. */
  readonly forwardPasses?: number;
  /** Agreement with the measured losses; absent for these themselves. */
  readonly agreement?: RankSummary;
  /** Agreement of one half of the samples with the other, corrected to all of them. Nothing agrees better than that. */
  readonly reliability?: RankSummary;
  /** Why the method has no answer for this model. */
  readonly missing?: string;
}

/** A method without an answer for a model. */
export interface MissingSensitivity {
  readonly method: string;
  /** Why. */
  readonly missing: string;
}

/** What the methods other than measuring say. */
export async function estimateSensitivities(
  study: Study,
  ctx: Context,
): Promise<(Sensitivity | MissingSensitivity)[]> {
  const methods = (Object.keys(SENSITIVITIES) as SensitivityName[]).filter((m) => m !== 'measured');
  const progress = ctx.start('Estimating sensitivities', methods.length);
  const found: (Sensitivity | MissingSensitivity)[] = [];
  for (const method of methods) {
    found.push(await estimate(method, study, ctx));
    progress.update(found.length, method);
  }
  progress.finish();
  return found;
}

/** A model may have no gradients (an operator, an old opset); that is no reason to end a search by measured losses. */
async function estimate(
  method: SensitivityName,
  study: Study,
  ctx: Context,
): Promise<Sensitivity | MissingSensitivity> {
  try {
    return await SENSITIVITIES[method](study, ctx);
  } catch (error) {
    if (!(error instanceof FxqError) || !NO_GRADIENTS.has(error.code)) throw error;
    return { method, missing: error.message };
  }
}

/** Compares other methods with measured losses of the same study. */
export function compareSensitivities(
  measured: Sensitivity,
  others: readonly (Sensitivity | MissingSensitivity)[],
): ComparedSensitivity[] {
  return [
    describe(measured),
    ...others.map((other) => ('missing' in other ? other : describe(other, measured))),
  ];
}

function describe(sensitivity: Sensitivity, reference?: Sensitivity): ComparedSensitivity {
  const reliability = splitHalfReliability(sensitivity);
  return {
    method: sensitivity.method,
    forwardPasses: sensitivity.work,
    ...(reference === undefined ? {} : { agreement: summarizeRanks(rankAgreement(reference, sensitivity)) }),
    ...(reliability === undefined ? {} : { reliability: summarizeRanks(reliability) }),
  };
}

/** The mean over the candidates where ranks are known. */
export function summarizeRanks({ byCandidate, overall }: RankAgreement): RankSummary {
  const known = byCandidate.filter(Number.isFinite);
  const layers = known.reduce((sum, r) => sum + r, 0) / known.length;
  return known.length === 0 ? { overall } : { layers, overall };
}
