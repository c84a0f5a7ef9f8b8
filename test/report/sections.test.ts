import { describe, expect, it } from 'vitest';
import { type AuditedNode } from '../../src/engine/index.js';
import { kernelSection, weightSection, type Section } from '../../src/report/index.js';
import { type LayerReport } from '../../src/solve/index.js';

const texts = (section: Section): string[][] => section.rows.map((row) => row.map((cell) => cell.text));

describe('the kernel section', () => {
  const float = (name: string, opType: string, why: string): AuditedNode => ({
    name,
    opType,
    kernel: 'float',
    runsAs: opType,
    why,
  });

  it('gives nodes that are float for the same reason one line', () => {
    const nodes = [
      float('c1', 'Conv', 'weights only'),
      float('c2', 'Conv', 'weights only'),
      float('m', 'MatMul', 'two inputs'),
      float('c3', 'Conv', 'weights only'),
      float('c4', 'Conv', 'weights only'),
      { name: 'c5', opType: 'Conv', kernel: 'integer', runsAs: 'QLinearConv', why: '' } as const,
    ];
    const section = kernelSection({ integer: 1, packed: 0, float: 5, conversions: 0, nodes });
    expect(texts(section)).toEqual([
      ['c1 … c4 (4)', 'Conv', 'float', 'weights only'],
      ['m', 'MatMul', 'float', 'two inputs'],
    ]);
  });
});

describe('the section of learned weights', () => {
  const report = (node: string, error: LayerReport['error'], fellBack = false): LayerReport => ({
    node,
    weight: `${node}.weight`,
    solver: 'gptq',
    error,
    fellBack,
  });

  it('tells errors before and after, and where nearest rounding was kept', () => {
    const section = weightSection([
      report('a', { nearest: 1e-2, fit: 1e-3, heldOutNearest: 1e-2, heldOut: 2e-3 }),
      report('b', { nearest: 1e-2, fit: 1e-2 }, true),
      report('', { nearest: 1e-2, fit: 0 }),
    ]);
    expect(texts(section)).toEqual([
      ['a', 'gptq', '20.0 dB → 30.0 dB', '20.0 dB → 27.0 dB', ''],
      ['b', 'nearest', '20.0 dB → 20.0 dB', '–', ''],
      ['.weight', 'gptq', '20.0 dB → exact', '–', ''],
    ]);
    expect(section.rows[0]?.[2]?.tone).toBe('good');
    expect(section.lead).toContain('1 kept nearest rounding');
  });
});
