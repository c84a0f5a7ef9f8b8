import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { calibrateSettings, quantizeSettings } from '../../src/config/settings.js';

type Settings = Readonly<Record<string, unknown>>;

function settingsOf(values: Readonly<Record<string, Settings>>): unknown {
  const flags = Object.entries(values).map(([key, value]) => ({ source: 'test', path: [key], value }));
  const model = { source: 'MODEL', path: ['model'], value: 'model.onnx' };
  return quantizeSettings(loadConfig({ folder: '/nowhere', flags: [model, ...flags] }));
}

describe('data', () => {
  it('that are described but not named are none', () => {
    expect(settingsOf({ data: { preprocess: 'unit' }, quantize: { preset: 'dynamic' } })).not.toHaveProperty(
      'statistics',
    );
    const file = { calibration: { file: 'a.fxq' }, data: { ignore: ['labels'] } };
    expect(settingsOf(file)).toMatchObject({ statistics: { kind: 'file', path: 'a.fxq' } });
    expect(settingsOf(file)).not.toHaveProperty('statistics.spec');
  });

  it('of which samples are chosen have to be named', () => {
    expect(() => settingsOf({ data: { samples: 5 } })).toThrow('data needs a path');
  });

  it('are asked for where there must be some', () => {
    const model = { source: 'MODEL', path: ['model'], value: 'model.onnx' };
    const reading = { source: 'file', path: ['data'], value: { preprocess: 'unit' } };
    const loaded = loadConfig({ folder: '/nowhere', flags: [model, reading] });
    expect(() => calibrateSettings(loaded)).toThrow('the calibration data is missing');
  });
});

describe('points of a Pareto file', () => {
  it('are read from a file of any name', () => {
    const at = (fromPareto: string) => () => settingsOf({ quantize: { fromPareto } });
    expect(at('none:budget')).toThrow('cannot read the Pareto file none');
    expect(at('none.json:budget')).toThrow('cannot read the Pareto file none.json');
    expect(at('none.json')).toThrow('names no point');
  });
});

describe('settings that nothing reads', () => {
  it.each([
    ['quantize.sparsityMethod', { quantize: { sparsityMethod: 'wanda' } }],
    [
      'quantize.sparsityMethod',
      { quantize: { sparsityMethod: 'wanda', layers: [{ match: 'a', sparsity: 'dense' }] } },
    ],
    ['quantize.block', { quantize: { block: { layers: 2 }, solver: 'descent' } }],
    ['quantize.distillation', { quantize: { distillation: { steps: 10 } } }],
    ['quantize.granularity', { quantize: { weights: 'nvfp4', granularity: 'tensor' } }],
    ['calibration.method', { calibration: { method: 'entropy' }, quantize: { preset: 'weight-only' } }],
    ['calibration.method', { calibration: { method: 'minmax' }, quantize: { preset: 'dynamic' } }],
  ])('%s is refused in %j', (setting, values) => {
    expect(() => settingsOf(values)).toThrow(`${setting} is given, but`);
  });

  it.each([
    { quantize: { sparsityMethod: 'wanda', sparsity: '2:4' } },
    { quantize: { sparsityMethod: 'wanda', layers: [{ match: 'a', sparsity: '2:4' }] } },
    { quantize: { block: { layers: 2 }, layers: [{ match: 'a', solver: 'block' }] } },
    { quantize: { block: { layers: 2 }, budgets: ['size=50%'] }, search: { solver: ['auto', 'block'] } },
    { quantize: { distillation: { steps: 10 }, distill: true } },
    { quantize: { distillation: { steps: 10 }, distill: false } },
    { quantize: { weights: 'int4', granularity: 'tensor' } },
    { quantize: { weights: 'nvfp4', granularity: 'tensor', layers: [{ match: 'a', weights: 'int8' }] } },
    { calibration: { method: 'auto' }, quantize: { preset: 'weight-only' } },
    { calibration: { method: 'entropy' } },
    {
      calibration: { method: 'entropy' },
      quantize: { preset: 'dynamic', layers: [{ match: 'a', activations: 'uint8' }] },
    },
  ])('are none in %j', (values) => {
    expect(() => settingsOf(values)).not.toThrow();
  });
});
