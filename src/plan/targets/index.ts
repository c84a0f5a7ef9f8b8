/** The table of targets. A new one is one file and one row here. */
import { FxqError, didYouMean } from '../../core/index.js';
import { type Target } from '../target.js';
import { GENERIC } from './generic.js';
import { INTEGER } from './integer.js';
import { ONNXRUNTIME_CPU } from './onnxruntime-cpu.js';

export const TARGETS = {
  'onnxruntime-cpu': ONNXRUNTIME_CPU,
  generic: GENERIC,
  integer: INTEGER,
} as const satisfies Record<string, Target>;

export type TargetName = keyof typeof TARGETS;

/** The target with this name. @throws FxqError E_USAGE for an unknown one */
export function findTarget(name: string): Target {
  if (Object.hasOwn(TARGETS, name)) return TARGETS[name as TargetName];
  throw new FxqError('E_USAGE', `unknown target '${name}'`, [
    didYouMean(name, Object.keys(TARGETS)),
    `Known targets: ${Object.keys(TARGETS).join(', ')}.`,
  ]);
}
