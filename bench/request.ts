/** What `fxq quantize` does with its defaults, as a request for a benchmark model. */
import { join } from 'node:path';
import { DEFAULT_SETTINGS, type PlanSettings } from '../src/plan/index.js';
import { type QuantizeRequest } from '../src/pipeline/index.js';
import { inFolder, type BenchModel } from './models.js';

export type Changes = Partial<Omit<QuantizeRequest, 'plan'>> & { readonly plan?: Partial<PlanSettings> };

export function quantizeRequest(
  folder: string,
  model: BenchModel,
  out: string,
  changes: Changes = {},
): QuantizeRequest {
  return {
    model: join(folder, model.model),
    out,
    emit: 'qdq',
    ranges: { method: 'auto' },
    weightRange: 'auto',
    statistics: { kind: 'data', spec: inFolder(folder, model.calibration) },
    avoidSaturation: false,
    solving: { effort: 'balanced' },
    externalData: false,
    dryRun: false,
    locked: false,
    ...changes,
    plan: { ...DEFAULT_SETTINGS, ...changes.plan },
  };
}
