/** A result with everything in it, for the tests of reporters. */
import { type LayerResult, type ReportResult } from '../../src/report/result.js';

const layer = (
  value: string,
  opType: string,
  own: number,
  share: number,
  accumulated: number,
): LayerResult => ({
  value: `${value}_out`,
  node: value,
  opType,
  weights: 'int8',
  own,
  share,
  accumulated,
  activation: own + 4,
});

export const sampleResult: ReportResult = {
  schemaVersion: 1,
  fxq: '0.1.0',
  onnxruntime: '1.30.0',
  float: { file: 'vit.onnx', sha256: 'aa11', opset: 17, nodes: 210 },
  quantized: { file: 'vit.int8.onnx', sha256: 'bb22', opset: 17, nodes: 340 },
  data: { source: 'test.npz', samples: 512, sha256: 'cc33', synthetic: false },
  metrics: [
    { name: 'top1', unit: '%', better: 'higher', float: 87.7, quantized: 86.2, drop: 1.5, relative: 1.71 },
    {
      name: 'cer',
      unit: '',
      better: 'lower',
      float: 0.0312,
      quantized: 0.0309,
      drop: -0.0003,
      relative: -0.96,
    },
  ],
  outputs: [
    { name: 'logits', sqnr: 31.24, cosine: 0.99962, kl: 0.00132, agreement: 98.6 },
    { name: 'features', sqnr: 999, cosine: 1 },
  ],
  layers: [
    { ...layer('/patch/Conv', 'Conv', 41.2, 3.1, 41.2) },
    {
      ...layer(
        '/blocks.0/a_rather_long_name_for_a_projection/of_the_first_block/MatMul',
        'MatMul',
        24.9,
        61.4,
        24.6,
      ),
    },
    {
      value: 'norm_out',
      node: '/norm/LayerNormalization',
      opType: 'LayerNormalization',
      own: 999,
      share: 0,
      accumulated: 25.1,
    },
    { ...layer('/head/Gemm', 'Gemm', 27.4, 35.5, 31.2) },
  ],
  tensors: [
    {
      value: 'norm_out',
      min: -3.5,
      max: 6.25,
      grid: { low: -3.2, high: 5.1, step: 0.0325 },
      histogram: [1, 0, 12, 140, 2300, 9000, 4100, 310, 22, 3],
    },
    { value: 'logits', min: -8, max: 12, histogram: [4, 40, 12, 2] },
  ],
  size: {
    float: 1261811,
    quantized: 372903,
    floatTypes: { float32: 1220232 },
    quantizedTypes: { int8: 301056, int32: 12300, float32: 6200 },
    layers: [
      { node: '/patch/Conv', opType: 'Conv', floatBytes: 12800, bytes: 3650, bits: 9.1 },
      { node: '/blocks.0/proj/MatMul', opType: 'MatMul', floatBytes: 65536, bytes: 16640, bits: 8.1 },
      { node: '/head/Gemm', opType: 'Gemm', floatBytes: 2600, bytes: 760, bits: 9.4 },
    ],
  },
  latency: {
    float: { median: 0.8312, low: 0.81, high: 0.8702 },
    quantized: { median: 0.6104, low: 0.602, high: 0.6511 },
    runs: 50,
    batch: 1,
    threads: 2,
  },
  kernels: {
    integer: 2,
    packed: 0,
    float: 1,
    conversions: 5,
    nodes: [
      { name: '/patch/Conv', opType: 'Conv', kernel: 'integer', runsAs: 'QLinearConv', why: '' },
      {
        name: '/blocks.0/proj/MatMul',
        opType: 'MatMul',
        kernel: 'integer',
        runsAs: 'QLinearMatMul',
        why: '',
      },
      { name: '/head/Gemm', opType: 'Gemm', kernel: 'float', runsAs: 'Gemm', why: 'its bias is float' },
    ],
  },
  baseline: [
    { quantity: 'top1', before: 86.9, after: 86.2, unit: '%' },
    { quantity: 'size', before: 372903, after: 372903, unit: 'B' },
  ],
  notes: [
    {
      level: 'warn',
      code: 'saturation',
      message: 'channel 3 of /head/Gemm may saturate, 12% of its sums: halve the weights,\nor use int8-sym',
    },
    { level: 'info', code: 'subset', message: '512 of 2000 samples were used' },
  ],
  gates: [
    {
      gate: 'top1.drop <= 0.5',
      level: 'error',
      passed: false,
      value: 1.5,
      limit: 0.5,
      unit: 'points',
      excess: 2,
    },
    {
      gate: 'size < 300 kB',
      level: 'warn',
      passed: false,
      value: 372903,
      limit: 300000,
      unit: 'B',
      excess: 0.243,
    },
    { gate: 'sqnr >= 30 dB', level: 'error', passed: true, value: 31.24, limit: 30, unit: 'dB', excess: 0 },
  ],
  passed: false,
};
