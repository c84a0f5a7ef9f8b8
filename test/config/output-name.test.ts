import { describe, expect, it } from 'vitest';
import { quantizedName } from '../../src/config/output-name.js';

describe('names of quantized models', () => {
  it.each([
    [{ preset: 'int8' }, 'dir/model.int8.onnx'],
    [{ preset: 'int8', weights: 'int8' }, 'dir/model.int8.onnx'],
    [{ preset: 'int8', weights: 'int4' }, 'dir/model.int4.onnx'],
    [{ preset: 'int16', activations: 'uint16' }, 'dir/model.int16.onnx'],
    [{ preset: 'weight-only', activations: 'float', weights: 'nf4' }, 'dir/model.nf4.onnx'],
    [{ preset: 'int8', activations: 'float', weights: 'int4' }, 'dir/model.int4-float.onnx'],
    [
      { preset: 'int8', weights: 'fix8.5:RND:SAT', activations: 'fix8' },
      'dir/model.fix8.5-RND-SAT-fix8.onnx',
    ],
    [{ preset: 'int8', fromPareto: 'm.pareto.json:p1' }, 'dir/model.mixed.onnx'],
  ] as const)('%o gives %s', (quantize, name) => {
    expect(quantizedName('dir/model.onnx', quantize)).toBe(name);
  });
});
