/** Golden files in ./golden; `npx vitest run test/report -u` rewrites them, and the diff is for reading. */
import { describe, expect, it } from 'vitest';
import { REPORTERS, text, type ReporterName } from '../../src/report/reporters/index.js';
import { type ReportResult } from '../../src/report/result.js';
import { sampleResult } from './sample-result.js';

const FILES: Record<ReporterName, string> = {
  text: 'report.txt',
  json: 'report.json',
  markdown: 'report.md',
  html: 'report.html',
  junit: 'junit.xml',
  sarif: 'report.sarif',
  'github-actions': 'github-actions.txt',
};

describe('reporters', () => {
  it.each(Object.entries(FILES))('%s writes what its golden file says', async (name, file) => {
    await expect(REPORTERS[name as ReporterName](sampleResult)).toMatchFileSnapshot(`golden/${file}`);
  });
});

describe('text', () => {
  it('stays within 100 columns and keeps both ends of a long name', () => {
    const report = text(sampleResult);
    expect(Math.max(...report.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(report).toMatch(/\/blocks\.0\/a_.*….*MatMul +MatMul/);
  });

  it('paints only what the caller can show', () => {
    const painted = text(sampleResult, (tone, s) => (tone === 'bad' ? `<${s}>` : s));
    expect(painted.match(/<.*?>/g)).toEqual(['<FAIL>']);
  });

  it('names the worst layers when there are too many, in graph order', () => {
    const layers = Array.from({ length: 80 }, (_, i) => ({
      value: `v${i}`,
      node: `n${i}`,
      opType: 'Conv',
      own: i % 2 === 0 ? 20 : 40,
      share: 1,
      accumulated: 20,
    }));
    const lines = text({ ...sampleResult, layers })
      .split('\n')
      .filter((line) => /^ {2}n\d+ /.test(line));
    expect(lines.map((line) => line.trim().split(' ')[0])).toEqual(
      Array.from({ length: 30 }, (_, i) => `n${2 * i}`),
    );
  });
});

describe('html', () => {
  const page = REPORTERS.html(sampleResult);

  it('needs nothing but itself', () => {
    expect(page).not.toMatch(/<script|<link|(src|href)=|url\(|@import/);
  });

  it('has a chart for errors, bytes, bits and every chosen tensor', () => {
    expect(page.match(/aria-label="[^"]*"/g)).toEqual([
      'aria-label="Bytes of every layer in graph order"',
      'aria-label="Mean bits of a stored weight in graph order"',
      'aria-label="SQNR of every layer in graph order"',
      'aria-label="Histogram of norm_out"',
      'aria-label="Histogram of logits"',
    ]);
  });

  it('escapes names', () => {
    const hostile: ReportResult = {
      ...sampleResult,
      float: { ...sampleResult.float, file: '<img src=x>.onnx' },
    };
    expect(REPORTERS.html(hostile)).not.toContain('<img');
  });
});

describe('github-actions', () => {
  it('escapes the syntax of workflow commands', () => {
    const lines = REPORTERS['github-actions'](sampleResult).trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[2]).toBe(
      '::warning file=vit.int8.onnx,title=fxq saturation::channel 3 of /head/Gemm may saturate, 12%25 of its sums: ' +
        'halve the weights,%0Aor use int8-sym',
    );
    const [gate] = sampleResult.gates;
    const odd = { ...sampleResult, notes: [], gates: [{ ...gate!, gate: 'layer.a:b,c <= 1' }] };
    expect(REPORTERS['github-actions'](odd)).toContain('title=fxq layer.a%3Ab%2Cc <= 1::');
  });

  it('shows nine of a kind and counts the rest', () => {
    const [gate] = sampleResult.gates;
    const many = { ...sampleResult, notes: [], gates: Array.from({ length: 14 }, () => gate!) };
    const lines = REPORTERS['github-actions'](many).trimEnd().split('\n');
    expect(lines).toHaveLength(10);
    expect(lines[9]).toMatch(/5 more in the report$/);
  });
});
