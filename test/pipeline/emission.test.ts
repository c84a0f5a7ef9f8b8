/** The forms of output, from a trained model to files: what is written, and that the integer model is a good one. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { openDataSet } from '../../src/data/index.js';
import { sumsProducts, tablePath, type Form, type IntegerTable } from '../../src/emit/index.js';
import { feedInputs, readModel } from '../../src/onnx/index.js';
import { quantize, readManifest, report, type QuantizeRequest } from '../../src/pipeline/index.js';
import { DEFAULT_SETTINGS, type PlanSettings } from '../../src/plan/index.js';
import { parseGate } from '../../src/report/index.js';
import { argmax } from '../../src/tensor/index.js';
import { fashionRequest } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';
import { runModel } from '../emit/integer/integer-model.js';

const folder = temporaryFolder();
const MODEL = 'fixtures/fashion-cnn/cnn.onnx';
const preprocess = { scale: 1 / 255, mean: 0.286, std: 0.353 };
const DATA = { path: 'fixtures/fashion-mnist/calibration.npz', samples: 64, preprocess };
const ctx = createContext();

function request(out: string, emit: Form, settings: Partial<PlanSettings>): QuantizeRequest {
  const statistics = { kind: 'data', spec: DATA } as const;
  const changes = { emit, statistics, weightRange: 'range', dryRun: false } as const;
  return fashionRequest(
    join(folder, out),
    { activations: DEFAULT_SETTINGS.activations, ...settings },
    changes,
  );
}

/** Share of test samples on which two models choose the same class. */
async function agreement(a: string, b: string): Promise<number> {
  const spec = { path: 'fixtures/fashion-mnist/test.npz', samples: 200, preprocess };
  const data = await openDataSet(spec, feedInputs(readModel(MODEL).graph), ctx);
  for await (const { inputs } of data.batches(200)) {
    const feeds = Object.fromEntries(inputs);
    const [x, y] = [await runModel(readModel(a), feeds), await runModel(readModel(b), feeds)];
    const [[first], [second]] = [[...x.values()], [...y.values()]];
    const width = first!.length / 200;
    const row = (data: Float32Array, i: number): number => argmax(data.subarray(i * width, (i + 1) * width));
    return (
      Array.from({ length: 200 }, (_, i) => Number(row(first!, i) === row(second!, i))).reduce(
        (s, e) => s + e,
      ) / 200
    );
  }
  return 0;
}

describe('quantize', () => {
  it.each(['float', 'dynamic'])('refuses integer arithmetic on %s activations', async (activations) => {
    const asked = request('none.onnx', 'integer', { target: 'integer', activations });
    await expect(quantize(asked, ctx)).rejects.toThrow('the form integer computes with activations');
    expect(existsSync(asked.out)).toBe(false);
  });

  it('says which rules of values change nothing', async () => {
    const notes: string[] = [];
    const noting = createContext({ note: ({ message }) => notes.push(message) });
    const tensors = [{ tensor: 'logits', format: 'int16' }];
    await quantize({ ...request('rule.onnx', 'qdq', { tensors }), dryRun: true }, noting);
    expect(notes).toContainEqual(expect.stringContaining("the rule for 'logits' changes nothing"));
    const unknown = request('rule.onnx', 'qdq', { tensors: [{ tensor: 'logit', format: 'int16' }] });
    await expect(quantize(unknown, ctx)).rejects.toThrow("no value 'logit'");
  });

  it('says so when nothing is quantized', async () => {
    const notes: string[] = [];
    const noting = createContext({ note: ({ code }) => notes.push(code) });
    await quantize({ ...request('float.onnx', 'qdq', { weights: 'float' }), dryRun: true }, noting);
    expect(notes).toContain('nothing-quantized');
  });

  it('refuses sums beyond a width that samples show', async () => {
    const settings = { target: 'integer', weights: 'dfp16', activations: 'dfp16' };
    const wanted = { ...request('wide.onnx', 'integer', settings), form: { detectBeyond: 32 } };
    await expect(quantize(wanted, ctx)).rejects.toThrow(/sample \d+ needs an accumulator of 3\d bits/);
  });

  it('declares what C++ computes with as asked for, and refuses to without C++', async () => {
    const settings = { target: 'integer', weights: 'fix6', activations: 'fix6' };
    const form = { cppTypes: 'ap_fixed' } as const;
    await quantize({ ...request('words.onnx', 'cpp', settings), form }, ctx);
    expect(readFileSync(join(folder, 'words.h'), 'utf8')).toMatch(/ap_fixed<6, -?\d+, AP_RND_CONV, AP_SAT>/);
    await expect(quantize({ ...request('none.onnx', 'integer', settings), form }, ctx)).rejects.toThrow(
      'the form integer writes no C++',
    );
  });

  it('writes true fixed point as a model, C++ and a table', async () => {
    const settings = { target: 'integer', weights: 'fix8', activations: 'fix8' };
    const { out, manifestFile } = await quantize(request('net.v1.onnx', 'cpp', settings), ctx);
    for (const name of ['net_v1.h', 'net_v1.cpp', 'net_v1_test.cpp', 'net_v1.vectors.bin'])
      expect(existsSync(join(folder, name))).toBe(true);
    const text = readFileSync(join(folder, 'net.v1.integer.json'), 'utf8');
    const table = JSON.parse(text) as IntegerTable;
    expect(table.values.map((v) => v.format)).toContain('ufix8');
    for (const { binaryPoint, scale } of table.values) expect(scale).toBe(2 ** -binaryPoint!);
    for (const { bits, calibratedBits } of table.accumulators)
      expect(calibratedBits).toBeLessThanOrEqual(bits);
    expect(readManifest(manifestFile).settings).toMatchObject({ emit: 'cpp' });
    expect(await agreement(MODEL, out)).toBeGreaterThan(0.95);
  });

  it('writes integer operators, and QOperators', async () => {
    const integer = await quantize(request('integer.onnx', 'integer', { target: 'integer' }), ctx);
    const operators = await quantize(request('qoperator.onnx', 'qoperator', {}), ctx);
    expect(integer.audit.float + operators.audit.float).toBe(0);
    expect(await agreement(MODEL, integer.out)).toBeGreaterThan(0.95);
    expect(await agreement(MODEL, operators.out)).toBeGreaterThan(0.95);
    expect(operators.model.graph.nodes.map((n) => n.opType)).toContain('QLinearConv');
    expect(integer.model.graph.nodes.every((n) => n.domain === '')).toBe(true);
  });

  it('keeps sums within a width on request, which the report can gate', async () => {
    const settings = { target: 'integer' };
    const wide = await quantize(request('wide.onnx', 'integer', settings), ctx);
    const narrow = await quantize({ ...request('narrow.onnx', 'integer', settings), accumulator: 19 }, ctx);
    const widest = (out: string): number => {
      const table = JSON.parse(readFileSync(tablePath(out), 'utf8')) as IntegerTable;
      return Math.max(...table.accumulators.filter(sumsProducts).map(({ bits }) => bits));
    };
    expect(widest(wide.out)).toBeGreaterThan(19);
    expect(widest(narrow.out)).toBeLessThanOrEqual(19);
    const gates = [parseGate('accumulator <= 19')];
    const passed = async (quantized: string): Promise<boolean> => {
      const data = { path: 'fixtures/fashion-mnist/test.npz', samples: 8, preprocess };
      const rest = { metrics: [], layers: 0, latency: 0, tensors: [] };
      return (await report({ float: MODEL, quantized, data, gates, ...rest }, ctx)).passed;
    };
    expect(await passed(wide.out)).toBe(false);
    expect(await passed(narrow.out)).toBe(true);
  });

  it('refuses a width where the runtime chooses it', async () => {
    const asked = { ...request('qdq.onnx', 'qdq', {}), accumulator: 24 };
    await expect(quantize(asked, ctx)).rejects.toThrow(/form qdq leaves them to the runtime/);
  });
});
