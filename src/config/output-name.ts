/** What files are called where nobody says. */
import { FxqError } from '../core/index.js';
import { DEFAULT_SETTINGS, PRESETS, type PlanSettings } from '../plan/index.js';
import { type Config } from './schema.js';

/** `dir/model.int8.onnx`: the model's name with the preset, or with the formats where those are others. */
export function quantizedName(model: string, quantize: Config['quantize']): string {
  return replaceEnding(model, `.${labelOf(quantize)}.onnx`);
}

function labelOf({ preset = 'int8', fromPareto, budgets, ...chosen }: Config['quantize'] = {}): string {
  if (fromPareto !== undefined || budgets !== undefined) return 'mixed';
  const usual: Pick<PlanSettings, 'weights' | 'activations'> = { ...DEFAULT_SETTINGS, ...PRESETS[preset] };
  const { weights = usual.weights, activations = usual.activations } = chosen;
  if (activations !== usual.activations) return safe(`${weights}-${activations}`);
  return weights === usual.weights ? preset : safe(weights);
}

/** Format names hold colons, which some file systems do not take. */
function safe(label: string): string {
  return label.replace(/[^\w.-]+/g, '-');
}

/** `dir/model.onnx` with another ending. */
export function replaceEnding(model: string, ending: string): string {
  const base = model.replace(/\.onnx$/, '');
  if (base + ending === model)
    throw new FxqError('E_USAGE', `the output would overwrite ${model}`, 'Give --out.');
  return base + ending;
}
