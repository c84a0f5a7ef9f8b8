import { expect, it } from 'vitest';
import { opsetForSettings } from '../../src/emit/index.js';
import { DEFAULT_SETTINGS } from '../../src/plan/index.js';

it.each([
  [{}, 13],
  [{ activations: 'uint16' }, 21],
  [{ weights: 'int4' }, 21],
  [{ weights: 'int2' }, 25],
  // Codes of activations are bytes at the narrowest, but not those of constants beside them.
  [{ activations: 'uint4' }, 21],
  [{ weights: 'e4m3' }, 19],
  [{ granularity: { block: 32 } }, 21],
  [{ activations: 'dynamic', weights: 'float' }, 13],
  [{ nodes: [{ match: { opType: 'Conv' }, activations: 'int16' }] }, 21],
  [{ tensors: [{ tensor: 'x', format: 'uint16' }] }, 21],
])('raises the opset only as far as the formats need: %j', (settings, opset) => {
  expect(opsetForSettings({ ...DEFAULT_SETTINGS, ...settings })).toBe(opset);
});
