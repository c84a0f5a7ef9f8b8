import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FxqError } from '../../src/core/index.js';
import { loadConfig, type FlagValue } from '../../src/config/load.js';
import { printConfig } from '../../src/config/print.js';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'fxq-config-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const write = (text: string, name = 'fxq.config.yaml'): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const flag = (source: string, path: string, value: unknown): FlagValue => ({
  source,
  path: path.split('.'),
  value,
});
const load = (...flags: FlagValue[]): ReturnType<typeof loadConfig> => loadConfig({ folder, flags });

function problems(...flags: FlagValue[]): string {
  try {
    load(...flags);
  } catch (error) {
    if (error instanceof FxqError) return `${error.code} ${error.message}`.replaceAll(`${folder}/`, '');
    throw error;
  }
  return 'nothing is wrong';
}

describe('precedence', () => {
  it('lets flags win over the file, the file over the preset, the preset over defaults', () => {
    write('seed: 3\nthreads: 2\nquantize:\n  preset: int16\n  weights: int4\n');
    const { config, origins } = load(flag('--threads', 'threads', 1));
    expect(config).toMatchObject({
      seed: 3,
      threads: 1,
      target: 'onnxruntime-cpu',
      quantize: { preset: 'int16', weights: 'int4', activations: 'uint16' },
    });
    expect(origins).toMatchObject({
      seed: join(folder, 'fxq.config.yaml'),
      threads: '--threads',
      target: 'default',
      quantize: { activations: 'preset int16', weights: join(folder, 'fxq.config.yaml') },
    });
  });

  it('plans for integers when integer arithmetic is to be written, unless a target is given', () => {
    const { config, origins } = load(flag('--emit', 'quantize.emit', 'cpp'));
    expect(config).toMatchObject({ target: 'integer', quantize: { emit: 'cpp' } });
    expect(origins).toMatchObject({ target: 'emit cpp' });
    const given = load(flag('--emit', 'quantize.emit', 'cpp'), flag('--target', 'target', 'generic'));
    expect(given.config.target).toBe('generic');
  });

  it('takes the preset of a flag, and keeps what the file sets beside it', () => {
    write('quantize:\n  preset: int16\n  weights: uint8\n');
    expect(load(flag('--preset', 'quantize.preset', 'dynamic')).config.quantize).toEqual({
      preset: 'dynamic',
      activations: 'dynamic',
      weights: 'uint8',
      emit: 'qdq',
    });
  });

  it('lets a flag change one key of data given in short form', () => {
    write('data: train.npz\n');
    expect(load(flag('--samples', 'data.samples', 64)).config.data).toEqual({
      path: 'train.npz',
      samples: 64,
    });
  });

  it('reads JSON, prefers YAML, and does without a file', () => {
    expect(load().config.seed).toBe(0);
    write('{"seed": 5}', 'fxq.config.json');
    expect(load().config.seed).toBe(5);
    write('seed: 6');
    expect(load().config.seed).toBe(6);
  });

  it('keeps input names with dots whole', () => {
    const { config } = load({
      source: '--input',
      path: ['data', 'inputs'],
      value: { 'input.1': { value: 3 } },
    });
    expect(config.data?.inputs).toEqual({ 'input.1': { value: 3 } });
  });
});

describe('validation', () => {
  it('names every problem at once, with line, path and the nearest key', () => {
    write(
      [
        'model: m.onnx',
        'quantise:',
        '  preset: int8',
        'report:',
        '  gate: x',
        '  latency: -1',
        'data:',
        '  smaples: 3',
      ].join('\n'),
    );
    const text = problems(flag('--weights', 'quantize.weights', 'int88'));
    expect(text.split('\n').slice(1)).toEqual([
      expect.stringMatching(
        /^ {2}fxq\.config\.yaml:8: data\.smaples: there is no such key\. Did you mean 'samples'\?$/,
      ),
      expect.stringMatching(/^ {2}--weights: quantize\.weights: unknown number format 'int88'/),
      expect.stringMatching(/^ {2}fxq\.config\.yaml:6: report\.latency: /),
      expect.stringMatching(
        /^ {2}fxq\.config\.yaml:5: report\.gate: there is no such key\. Did you mean 'gates'/,
      ),
      expect.stringMatching(
        /^ {2}fxq\.config\.yaml:2: quantise: there is no such key\. Did you mean 'quantize'\?$/,
      ),
    ]);
    expect(text).toMatch(/^E_CONFIG 5 things are wrong:/);
  });

  it.each([
    ['an unknown preset', 'quantize: { preset: int9 }', /quantize\.preset: expected one of "int8"\|/],
    [
      'a gate that is none',
      'report: { gates: [top1.drop] }',
      /report\.gates\[0\]: 'top1\.drop' is not a gate/,
    ],
    [
      'a gate with a wrong level',
      'report: { gates: [{ gate: top1 > 3, level: fatal }] }',
      /report\.gates\[0\]: level: expected one of/,
    ],
    [
      'an unknown reporter',
      'report: { reporters: [xml=a] }',
      /there is no reporter 'xml'\. Known are text, json/,
    ],
    [
      'a metric that is none',
      'report: { metrics: [top7] }',
      /report\.metrics\[0\]: expected top1, top5, auc or the path/,
    ],
    [
      'an expression that does not parse',
      'quantize: { exclude: ["/(/"] }',
      /quantize\.exclude\[0\]: .*not a regular expression/,
    ],
    ['a shard beyond the last', 'calibration: { shard: 5/4 }', /'5\/4' is no shard/],
    [
      'a mistyped key deep inside',
      'quantize: { layers: [{ match: a, weigths: int4 }] }',
      /quantize\.layers\[0\]\.weigths: .*'weights'/,
    ],
    ['text where a number belongs', 'threads: many', /threads: expected number/],
    ['more threads than a machine has', 'threads: 100000', /threads: Too big/],
    ['a range upside down', 'quantize: { tensors: [{ tensor: x, range: [1, 0] }] }', /with low below high/],
    ['a rule without a setting', 'quantize: { tensors: [{ tensor: x }] }', /expected a format or a range/],
    ['a selector of nothing', 'quantize: { exclude: [{}] }', /expected node, opType or between/],
    [
      'a block of nothing',
      "quantize: { granularity: 'block:0' }",
      /"channel", or expected 'block:N' with N of 1 or more$/m,
    ],
    ['a gate that is none', 'report: { gates: [top1] }', /'top1' is not a gate(?!.*expected object)/],
    ['a list', '[1, 2]', /holds no mapping/],
    ['YAML that does not parse', 'a: [1', /fxq\.config\.yaml:1: /],
  ])('refuses %s', (_, text, message) => {
    write(text);
    expect(problems()).toMatch(message);
    expect(problems()).toMatch(/^E_CONFIG/);
  });

  it('says when a named file is missing', () => {
    expect(() => loadConfig({ folder, file: join(folder, 'none.yaml'), flags: [] })).toThrow(
      /cannot read configuration/,
    );
  });
});

describe('printConfig', () => {
  it('is YAML with the source of every value behind it', () => {
    write('data: { path: a.npz, rows: [0, 10] }\nreport:\n  gates: [top1.drop <= 0.5]\n');
    const { values, origins } = load(flag('--seed', 'seed', 9));
    const text = printConfig(values, origins).replaceAll(folder, '.');
    expect(text).toMatch(/^seed: 9 +# --seed$/m);
    expect(text).toMatch(/^ {2}rows: \[0, 10\] +# \.\/fxq\.config\.yaml$/m);
    expect(text).toMatch(/^ {2}gates: \[top1\.drop <= 0\.5\] +# \.\/fxq\.config\.yaml$/m);
    expect(text).toMatch(/^ {2}preset: int8 +# default$/m);
    rmSync(join(folder, 'fxq.config.yaml'));
    write(text);
    expect(load().values).toEqual(values);
  });
});
