/** Settings of steps that do not take place. They are refused: whoever wrote them expects them to count. */
import { FxqError } from '../core/index.js';
import { parseFormat } from '../formats/index.js';
import { type PlanSettings } from '../plan/index.js';
import { BLOCK_SOLVER } from '../solve/index.js';
import { type Config } from './schema.js';

interface IdleSetting {
  readonly setting: string;
  readonly isGiven: (config: Config) => boolean;
  readonly isRead: (config: Config, plan: PlanSettings) => boolean;
  readonly why: string;
  readonly fix: string;
}

const SETTINGS: readonly IdleSetting[] = [
  {
    setting: 'quantize.sparsityMethod',
    isGiven: ({ quantize }) => quantize?.sparsityMethod !== undefined,
    isRead: ({ quantize: { sparsity, layers = [] } = {} }) =>
      sparsity !== undefined || layers.some((rule) => (rule.sparsity ?? 'dense') !== 'dense'),
    why: 'no layer has a sparse pattern to choose weights for',
    fix: 'Add --sparsity 2:4, or leave out --sparsity-method.',
  },
  {
    setting: 'quantize.block',
    isGiven: ({ quantize }) => quantize?.block !== undefined,
    isRead: ({ search }, plan) =>
      [plan, ...plan.nodes].some(({ solver }) => solver === BLOCK_SOLVER) ||
      [search?.solver].flat().includes(BLOCK_SOLVER),
    why: 'no layer is solved in blocks',
    fix: 'Add --solver block, or leave quantize.block out.',
  },
  {
    setting: 'quantize.distillation',
    isGiven: ({ quantize }) => quantize?.distillation !== undefined,
    // A distillation that is switched off may keep its settings for another run.
    isRead: ({ quantize }) => quantize?.distill !== undefined,
    why: 'nothing is distilled',
    fix: 'Add --distill, or leave quantize.distillation out.',
  },
  {
    setting: 'quantize.granularity',
    isGiven: ({ quantize }) => quantize?.granularity !== undefined,
    isRead: ({ quantize: { budgets = [] } = {} }, plan) =>
      budgets.length > 0 || [plan, ...plan.nodes].some(({ weights }) => leavesBlocksOpen(weights)),
    why: 'the format of the weights has blocks of its own',
    fix: 'Leave out --granularity, or choose a format without blocks (docs/formats.md).',
  },
  {
    setting: 'calibration.method',
    isGiven: ({ calibration }) => (calibration?.method ?? 'auto') !== 'auto',
    isRead: ({ search, quantize: { budgets = [] } = {} }, plan) =>
      [plan, ...plan.nodes].some(({ activations }) => isCalibrated(activations)) ||
      plan.nodes.some(({ results }) => isCalibrated(results)) ||
      plan.tensors.length > 0 ||
      (budgets.length > 0 && (search?.activations ?? []).some(isCalibrated)),
    why: 'no activation is quantized ahead of time, so no range is chosen',
    fix: 'Leave out --method (or give --method auto), or choose --activations uint8.',
  },
];

/** @throws FxqError E_CONFIG for a setting that nothing would read */
export function refuseIdle(config: Config, plan: PlanSettings): void {
  for (const { setting, isGiven, isRead, why, fix } of SETTINGS)
    if (isGiven(config) && !isRead(config, plan))
      throw new FxqError('E_CONFIG', `${setting} is given, but ${why}`, fix);
}

/** Whether a format of activations takes its ranges from calibration. */
function isCalibrated(format: string | undefined): boolean {
  return format !== undefined && format !== 'float' && format !== 'dynamic';
}

/** Whether the plan says which weights share a scale. */
function leavesBlocksOpen(format: string | undefined): boolean {
  return format !== undefined && (format === 'float' || parseFormat(format).block === undefined);
}
