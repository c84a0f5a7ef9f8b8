/** Whatever is wrong with the input: one screen that names the culprit, exit status 2, and nothing written. */
import type { Command } from '@oclif/core';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import Calibrate from '../../src/commands/calibrate.js';
import Quantize from '../../src/commands/quantize.js';
import Report from '../../src/commands/report.js';
import { graph, model, node, serializeModel, value, writeModel, type Model } from '../../src/onnx/index.js';
import { tensor, writeNpy, writeNpz, type Tensor } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { floatModel, quantizedModel } from '../report/models.js';
import { runCommand } from './run-command.js';

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const save = (name: string, content: string | Uint8Array): void => writeFileSync(at(name), content);

const rows = (count: number, width: number, fill = 0.5): Tensor =>
  tensor('float32', [count, width], new Float32Array(count * width).fill(fill));

/** Two inputs, one of which the data may lack. */
function twoInputs(): Model {
  return model(
    graph({
      inputs: [value('a', 'float32', ['N', 4]), value('b', 'float32', ['N', 4])],
      outputs: [value('y', 'float32', ['N', 4])],
      initializers: [['w', tensor('float32', [4, 4])]],
      nodes: [node('Add', ['a', 'b'], ['s']), node('MatMul', ['s', 'w'], ['y'], {}, { name: 'fc' })],
    }),
    17,
  );
}

function cyclic(): Model {
  const float = floatModel();
  const nodes = float.graph.nodes.map((n) => (n.name === 'fc1' ? { ...n, inputs: ['r', 'W1', 'b1'] } : n));
  return { ...float, graph: { ...float.graph, nodes } };
}

/** Writes a model whose weights are said to lie outside its folder, where indeed there is a file of that size. */
function saveExternalOutside(): void {
  const weights = tensor('float32', [4, 256]);
  const inside = model(
    graph({
      inputs: [value('a', 'float32', ['N', 4])],
      outputs: [value('y', 'float32', ['N', 256])],
      initializers: [['w', weights]],
      nodes: [node('MatMul', ['a', 'w'], ['y'])],
    }),
    17,
  );
  writeModel(inside, at('models/m.onnx'), { externalData: true });
  const bytes = readFileSync(at('models/m.onnx'));
  bytes.write('../private1', bytes.indexOf('m.onnx.data'));
  save('models/m.onnx', bytes);
  save('private1', new Uint8Array(weights.data.byteLength));
}

beforeAll(() => {
  const float = serializeModel(floatModel());
  mkdirSync(at('folder.onnx'));
  save('float.onnx', float);
  save('quantized.onnx', serializeModel(quantizedModel()));
  save('truncated.onnx', float.subarray(0, float.length - 200));
  save('text.onnx', 'this is no model\n');
  save('empty.onnx', '');
  save('cyclic.onnx', serializeModel(cyclic()));
  save('opset.onnx', serializeModel({ ...floatModel(), opsets: new Map([['', 99]]) }));
  save('two.onnx', serializeModel(twoInputs()));
  saveExternalOutside();
  save('x.npy', writeNpy(rows(16, 8)));
  save('wide.npy', writeNpy(rows(16, 9)));
  save('nan.npy', writeNpy(rows(16, 8, NaN)));
  save('a.npz', writeNpz(new Map([['a', rows(16, 4)]])));
  save('labels.npy', writeNpy(tensor('int64', [15])));
});

const CASES: [what: string, command: typeof Command, argv: string[], message: RegExp][] = [
  ['a file that is not there', Quantize, ['none.onnx', '--data', 'x.npy'], /none\.onnx: no such file/],
  [
    'a truncated model',
    Quantize,
    ['truncated.onnx', '--data', 'x.npy'],
    /truncated\.onnx is not an ONNX model/,
  ],
  [
    'a text file',
    Quantize,
    ['text.onnx', '--data', 'x.npy'],
    /text\.onnx is not an ONNX model: it is a text file/,
  ],
  [
    'an empty file',
    Quantize,
    ['empty.onnx', '--data', 'x.npy'],
    /empty\.onnx is not an ONNX model: it is empty/,
  ],
  [
    'a cyclic graph',
    Quantize,
    ['cyclic.onnx', '--data', 'x.npy'],
    /cyclic\.onnx: the graph is cyclic: .*h.*r/,
  ],
  [
    'an opset nobody knows',
    Quantize,
    ['opset.onnx', '--data', 'x.npy'],
    /opset\.onnx uses opset 99; fxq reads 7 to 26/,
  ],
  ['external data outside the folder', Quantize, ['models/m.onnx', '--preset', 'dynamic'], /private1/],
  ['an array of another shape', Quantize, ['float.onnx', '--data', 'wide.npy'], /wide\.npy.*9/s],
  ['a missing input', Quantize, ['two.onnx', '--data', 'a.npz'], /'b'/],
  ['NaN in the data', Quantize, ['float.onnx', '--data', 'nan.npy'], /NaN/],
  ['NaN in the data, calibrating', Calibrate, ['float.onnx', '--data', 'nan.npy'], /NaN/],
  ['no data where there must be some', Quantize, ['float.onnx'], /needs calibration data/],
  [
    'an output that is a folder',
    Quantize,
    ['float.onnx', '--data', 'x.npy', '--out', 'folder.onnx'],
    /folder\.onnx/,
  ],
  [
    'an output that is the data',
    Quantize,
    ['float.onnx', '--data', 'x.npy', '--out', 'x.npy'],
    /data .*x\.npy/,
  ],
  [
    'statistics in place of the model',
    Calibrate,
    ['float.onnx', '--data', 'x.npy', '--out', 'float.onnx'],
    /would overwrite the float model/,
  ],
  [
    'an output nobody may write',
    Quantize,
    ['float.onnx', '--data', 'x.npy', '--out', '/proc/fxq/out.onnx'],
    /\/proc\/fxq/,
  ],
  [
    'a node that is not there',
    Quantize,
    ['float.onnx', '--data', 'x.npy', '--exclude', 'fc3'],
    /'fc3'[\s\S]*'fc1'/,
  ],
  [
    'too few labels',
    Report,
    ['float.onnx', 'quantized.onnx', '--data', 'x.npy', '--labels', 'labels.npy'],
    /labels\.npy holds 15 labels/,
  ],
  [
    'an order of channels for no pattern',
    Quantize,
    ['float.onnx', '--data', 'x.npy', '--permute-channels'],
    /no layer has one[\s\S]*--sparsity 2:4/,
  ],
  ['a mistyped flag', Quantize, ['float.onnx', '--sampels', '3'], /--sampels[\s\S]*'--samples'/],
  ['a mistyped preset', Quantize, ['float.onnx', '--preset', 'int9'], /quantize\.preset: expected one of/],
  ['a format nobody knows', Quantize, ['float.onnx', '--weights', 'int88'], /int88.*'int8'/],
];

describe('bad input', () => {
  it.each(CASES)('%s', async (_, command, argv, message) => {
    const before = readdirSync(folder).sort();
    const paths = argv.map((word) => (/\.\w+$/.test(word) && !word.startsWith('/') ? at(word) : word));
    const { stdout, stderr, exit } = await runCommand(command, ...paths, '--quiet');
    expect(stderr).toMatch(message);
    expect({ exit, stdout }).toEqual({ exit: 2, stdout: '' });
    expect(stderr).toMatch(/^error: /);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(stderr.split('\n').length).toBeLessThanOrEqual(24);
    expect(readdirSync(folder).sort()).toEqual(before);
    expect(existsSync('/proc/fxq')).toBe(false);
  });

  it('is one object on stdout under --json, with the same exit status', async () => {
    const { stdout, stderr, exit } = await runCommand(
      Quantize,
      at('text.onnx'),
      '--data',
      at('x.npy'),
      '--json',
    );
    expect({ exit, stderr }).toEqual({ exit: 2, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({
      error: {
        code: 'E_MODEL',
        name: 'FxqError',
        message: expect.stringContaining('text.onnx'),
        suggestions: [expect.any(String)],
      },
    });
  });

  it('keeps reports away from what they are about', async () => {
    const argv = [at('float.onnx'), at('quantized.onnx'), '--data', at('x.npy')];
    const { stderr, exit } = await runCommand(Report, ...argv, '--reporter', `html=${at('float.onnx')}`);
    expect({ exit, stderr }).toMatchObject({ exit: 2, stderr: expect.stringContaining('the float model') });
    expect(readFileSync(at('float.onnx'))).toEqual(Buffer.from(serializeModel(floatModel())));
  });

  it('leaves an older output as it was', async () => {
    save('old.onnx', 'precious');
    const { exit } = await runCommand(
      Quantize,
      at('float.onnx'),
      '--data',
      at('nan.npy'),
      '--out',
      at('old.onnx'),
    );
    expect(exit).toBe(2);
    expect(readFileSync(at('old.onnx'), 'utf8')).toBe('precious');
  });
});
