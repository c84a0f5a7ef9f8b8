/** The least opset that the formats asked for need. */
import { parseFormat } from '../formats/index.js';
import { type PlanSettings } from '../plan/index.js';

/** Per-channel QuantizeLinear exists since opset 13, blocks of scales since 21. */
const CHANNEL_OPSET = 13;
const BLOCK_OPSET = 21;

/** Opset for a plan made with these settings, before it is made: the model is raised first and then prepared. */
export function opsetForSettings(settings: PlanSettings): number {
  const rules = [settings, ...settings.nodes];
  const formats = [
    ...rules.flatMap(({ weights, activations }) => [weights, activations]),
    ...settings.tensors.map(({ format }) => format),
  ].filter((name) => name !== undefined && name !== 'float' && name !== 'dynamic');
  const isBlocked = rules.some(({ granularity }) => typeof granularity === 'object');
  return Math.max(
    CHANNEL_OPSET,
    isBlocked ? BLOCK_OPSET : 0,
    ...formats.map((name) => parseFormat(name ?? '').opset),
  );
}
