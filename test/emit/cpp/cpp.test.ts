/** Generated C++: compiles without warnings, with and without sanitizers, and gives the interpreter's bits. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { testVectors, writeCpp, type CppTypes } from '../../../src/emit/cpp/index.js';
import { accumulatorWidths, interpret } from '../../../src/emit/integer/index.js';
import { type Model } from '../../../src/onnx/index.js';
import { toFloat32 } from '../../../src/tensor/index.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { model } from '../../helpers/model.js';
import { integerModel, randomInput } from '../integer/integer-model.js';

const compiler = ['c++', 'g++', 'clang++'].find((name) => spawnSync(name, ['--version']).status === 0);
if (compiler === undefined) console.warn('skipped: no C++ compiler (c++, g++ or clang++) on this machine');

const WARNINGS = ['-std=c++17', '-Wall', '-Wextra', '-Wpedantic', '-Werror'];
/** Stand-ins for the vendor's headers, which count assignments that lose bits. */
const STAND_INS = ['-I', join(import.meta.dirname, 'ap')];
const SANITIZERS = ['-fsanitize=undefined,address', '-fno-sanitize-recover=all'];

const convolutional = model`opset 17 (float32[N,4,9,9] x) => (y, z) {
  w1: float32[8,4,3,3] = random(seed=1, scale=0.2)
  b1: float32[8] = random(seed=2, scale=0.5)
  w2: float32[8,1,3,3] = random(seed=3, scale=0.4)
  w3: float32[8,8,1,1] = random(seed=4, scale=0.3)
  v: float32[1,8,1,1] = random(seed=5)
  w4: float32[5,8] = random(seed=6, scale=0.5)
  b4: float32[5] = random(seed=7)
  pads: int64[8] = {0, 0, 1, 0, 0, 0, 0, 2}
  c1 = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w1, b1)
  r1 = Relu(c1)
  c2 = Conv<pads=[1,1,1,1], group=8>(r1, w2)
  a = Add(c2, r1)
  s = Sigmoid(a)
  m = Mul(a, s)
  c3 = Conv(m, w3)
  k = Mul(c3, v)
  p = MaxPool<kernel_shape=[2,2], strides=[1,1], pads=[0,0,1,1]>(k)
  q = AveragePool<kernel_shape=[2,2]>(p)
  e = Pad(q, pads)
  j = Concat<axis=1>(e, e)
  z = ReduceMean<axes=[1,3], keepdims=0>(j)
  g = GlobalAveragePool(k)
  f = Flatten(g)
  y = Gemm<transB=1>(f, w4, b4) }`;

const transformer = model`opset 17 (float32[N,6,16] x) => (y) {
  g: float32[16] = random(seed=1, mean=1, scale=0.2)
  b: float32[16] = random(seed=2, scale=0.3)
  wq: float32[16,48] = random(seed=3, scale=0.25)
  wo: float32[16,16] = random(seed=4, scale=0.25)
  scale: float32 = 0.35
  shape: int64[5] = {0, 6, 3, 2, 8}
  back: int64[3] = {0, 6, 16}
  one: int64[3] = {1, 1, 1}
  first: int64[1] = {0}
  i: int64 = -1
  n = LayerNormalization(x, g, b)
  qkv = MatMul(n, wq)
  r = Reshape(qkv, shape)
  t = Transpose<perm=[2,0,3,1,4]>(r)
  q3, k3, v3 = Split<axis=0>(t, one)
  q = Squeeze(q3, first)
  k = Squeeze(k3, first)
  v = Squeeze(v3, first)
  kt = Transpose<perm=[0,1,3,2]>(k)
  s = MatMul(q, kt)
  d = Mul(s, scale)
  p = Softmax(d)
  o = MatMul(p, v)
  ot = Transpose<perm=[0,2,1,3]>(o)
  or = Reshape(ot, back)
  m = MatMul(or, wo)
  a = Add(m, x)
  y = Gather<axis=1>(a, i) }`;

/** Runs a network on the same bits as codes and as ap_fixed. */
const FIXED_MAIN = `
#include <cstdio>
#include "net.h"
int main() {
  static ap_int<8> x[net::input_0_size], y[net::output_0_size];
  static net::x_t x_fixed[net::input_0_size];
  static net::a_t y_fixed[net::output_0_size];
  for (std::size_t i = 0; i < net::input_0_size; ++i) {
    x[i] = static_cast<int>(i * 37 % 255) - 127;
    x_fixed[i].range() = x[i];
  }
  net::run_codes(x, y);
  net::run_fixed(x_fixed, y_fixed);
  int equal = 0;
  for (std::size_t i = 0; i < net::output_0_size; ++i) equal += ap_int<8>(y_fixed[i].range()) == y[i];
  std::printf("%d equal\\n", equal);
}
`;

const root = temporaryFolder();

interface Build {
  readonly model: Model;
  readonly dims: readonly number[];
  readonly activations: string;
  readonly weights: string;
  readonly flags: readonly string[];
  readonly types?: CppTypes;
}

/** Writes, compiles and runs the test bench; its standard output and exit status. */
async function replay(build: Build, corrupt = false) {
  const { model: float, dims, activations, weights, flags, types = 'fixed-width' } = build;
  const integer = await integerModel(float, { x: randomInput([4, ...dims]) }, { activations, weights });
  const { program } = integer.lowered;
  const files = writeCpp(program, { name: 'net', inputs: new Map([['x', [1, ...dims]]]), types });
  const samples = Array.from({ length: 6 }, (_, seed) => {
    const x = randomInput([1, ...dims], seed + 100, 2);
    const { outputs } = interpret(program, new Map([['x', x]]));
    return { inputs: [toFloat32(x)], outputs: [...outputs.values()].map((t) => toFloat32(t).slice()) };
  });
  if (corrupt) samples[3]!.outputs[0]![0]! += 0.25;
  const folder = mkdtempSync(join(root, 'build-'));
  const path = (name: string): string => join(folder, name);
  writeFileSync(path('net.h'), files.header);
  writeFileSync(path('net.cpp'), files.source);
  writeFileSync(path('net_test.cpp'), files.testBench);
  writeFileSync(path('vectors.bin'), testVectors(samples));
  const sources = [path('net.cpp'), path('net_test.cpp')];
  const built = spawnSync(compiler!, [...WARNINGS, ...flags, ...sources, '-o', path('net_test')], {
    encoding: 'utf8',
  });
  expect(built.stderr).toBe('');
  const run = spawnSync(path('net_test'), [path('vectors.bin')], { encoding: 'utf8' });
  return { output: run.stdout + run.stderr, status: run.status, files };
}

const EQUAL = { output: '6 samples, 0 values differ\n', status: 0 };

describe.skipIf(compiler === undefined)('compiled C++', () => {
  it.each([
    ['uint8', 'int8', SANITIZERS],
    ['fix8', 'fix8', ['-O2']],
    ['fix10:AP_TRN_ZERO:AP_WRAP_SM', 'dfp16', SANITIZERS],
  ])('of a convolutional network, activations %s, weights %s, %j', async (activations, weights, flags) => {
    const build = { model: convolutional, dims: [4, 9, 9], activations, weights, flags };
    expect(await replay(build)).toMatchObject(EQUAL);
  });

  it.each([
    ['int8-narrow', 'int8', SANITIZERS],
    ['uint16', 'int8', ['-O2']],
  ])('of a transformer, activations %s, weights %s, %j', async (activations, weights, flags) => {
    const build = { model: transformer, dims: [6, 16], activations, weights, flags };
    expect(await replay(build)).toMatchObject(EQUAL);
  });

  it.each([
    ['uint8', 'int8', 'convolutional'],
    ['fix6', 'fix5', 'convolutional'],
    ['fix10:AP_TRN_ZERO:AP_WRAP_SM', 'dfp16', 'convolutional'],
    ['fix8:AP_TRN:AP_WRAP', 'fix8', 'convolutional'],
    ['int8-narrow', 'int8', 'transformer'],
    ['fix8', 'pot8k2', 'transformer'],
  ])(
    'in words of the real width loses no bit, activations %s, weights %s, %s',
    async (...[activations, weights, net]) => {
      const shape =
        net === 'transformer'
          ? { model: transformer, dims: [6, 16] }
          : { model: convolutional, dims: [4, 9, 9] };
      const flags = [...STAND_INS, ...SANITIZERS];
      const { output, status } = await replay({ ...shape, activations, weights, flags, types: 'ap_fixed' });
      expect(output).toBe(`${EQUAL.output}0 values lost bits\n`);
      expect(status).toBe(0);
    },
  );

  it('takes and gives ap_fixed values whose bits are the codes', async () => {
    const x = randomInput([4, 6, 16]);
    const { lowered } = await integerModel(transformer, { x }, { activations: 'fix8', weights: 'fix8' });
    const inputs = new Map([['x', [1, 6, 16]]]);
    const files = writeCpp(lowered.program, { name: 'net', inputs, types: 'ap_fixed' });
    const folder = mkdtempSync(join(root, 'build-'));
    const path = (name: string): string => join(folder, name);
    writeFileSync(path('net.h'), files.header);
    writeFileSync(path('net.cpp'), files.source);
    writeFileSync(path('main.cpp'), FIXED_MAIN);
    const flags = [...WARNINGS, ...STAND_INS, path('net.cpp'), path('main.cpp'), '-o', path('main')];
    expect(spawnSync(compiler!, flags, { encoding: 'utf8' }).stderr).toBe('');
    expect(spawnSync(path('main'), { encoding: 'utf8' })).toMatchObject({
      stdout: '96 equal\n0 values lost bits\n',
    });
  });

  it('reports a value that differs', async () => {
    const build = { model: transformer, dims: [6, 16], activations: 'uint8', weights: 'int8', flags: [] };
    expect(await replay(build, true)).toMatchObject({ output: '6 samples, 1 values differ\n', status: 1 });
  });
});

describe('writeCpp', () => {
  it('contains integer arithmetic only, and no heap', async () => {
    const x = randomInput([1, 4, 9, 9]);
    const formats = { activations: 'fix8', weights: 'fix8' };
    const { lowered } = await integerModel(convolutional, { x }, formats);
    const files = writeCpp(lowered.program, { name: 'a net', inputs: new Map([['x', [1, 4, 9, 9]]]) });
    expect(files.source).toContain('namespace a_net');
    expect(files.source).not.toMatch(/\bnew\b|malloc|std::vector/);
    expect(files.source + files.header).not.toContain('ap_');
    const integers = files.source.slice(
      files.source.indexOf('void run_codes'),
      files.source.indexOf('void run('),
    );
    expect(integers).toContain('convolution<');
    expect(integers).not.toMatch(/float|double/);
  });

  it('declares words of the real width, and ap_fixed types with their modes', async () => {
    const x = randomInput([1, 4, 9, 9]);
    const types = 'ap_fixed';
    const options = { name: 'net', inputs: new Map([['x', [1, 4, 9, 9]]]), types } as const;
    const fixed = await integerModel(convolutional, { x }, { activations: 'fix6', weights: 'fix5' });
    const files = writeCpp(fixed.lowered.program, options);
    expect(files.header).toMatch(/using x_t = ap_fixed<6, -?\d, AP_RND_CONV, AP_SAT>;/);
    expect(files.header).toMatch(/void run_codes\(const ap_int<6>\* x, /);
    expect(files.header).toContain('void run_fixed(const x_t* x_fixed');
    expect(files.source).toMatch(/const ap_int<5> Conv_c1_weight\[\]/);
    const { bits } = accumulatorWidths(fixed.lowered.program)[0]!;
    expect(files.source).toContain(`convolution<ap_int<${bits}>, ap_int<6>`);
    const affine = await integerModel(convolutional, { x });
    const header = writeCpp(affine.lowered.program, options).header;
    expect(header).toContain('void run_codes(const ap_uint<8>* x');
    expect(header).not.toContain('run_fixed');
  });

  it('keeps no more activations in memory than are alive', async () => {
    const x = randomInput([1, 4, 9, 9]);
    const { lowered } = await integerModel(convolutional, { x });
    const files = writeCpp(lowered.program, { name: 'net', inputs: new Map([['x', [1, 4, 9, 9]]]) });
    const all = lowered.program.ops.length * 8 * 5 * 5;
    expect(files.activationBytes).toBeLessThan(all / 2);
    expect(files.activationBytes).toBeGreaterThan(3 * 8 * 5 * 5 - 1);
  });
});
