/** The least opset that the formats asked for need. */
import { parseFormat, type NumberFormat } from '../formats/index.js';
import { type PlanSettings } from '../plan/index.js';
import { activationStorage } from './activation.js';

/** Per-channel QuantizeLinear exists since opset 13, blocks of scales since 21. */
const CHANNEL_OPSET = 13;
const BLOCK_OPSET = 21;

/** Opset for a plan made with these settings, before it is made: the model is raised first and then prepared. */
export function opsetForSettings(settings: PlanSettings): number {
  const rules = [settings, ...settings.nodes];
  const needed = (names: readonly (string | undefined)[], of: (format: NumberFormat) => number): number[] =>
    names.flatMap((name) =>
      name === undefined || name === 'float' || name === 'dynamic' ? [] : [of(parseFormat(name))],
    );
  const activations = [...rules.map((r) => r.activations), ...settings.tensors.map(({ format }) => format)];
  const isBlocked = rules.some(({ granularity }) => typeof granularity === 'object');
  return Math.max(
    CHANNEL_OPSET,
    isBlocked ? BLOCK_OPSET : 0,
    ...needed(
      rules.map((r) => r.weights),
      (format) => format.opset,
    ),
    ...needed(activations, (format) => activationStorage(format).opset),
  );
}
