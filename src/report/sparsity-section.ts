/** Sparsity patterns and distillation as report sections. */
import { type DistillReport } from '../solve/index.js';
import { type LayerSparsityResult, type SparsityResult } from './result.js';
import { ROW_LIMIT, cell, counted, left, right, type Cell, type Section } from './section.js';
import { significant } from './units.js';

/** Which layers keep a sparsity pattern, and why others cannot. */
export function sparsitySection({ pattern, zeros, layers }: SparsityResult): Section {
  const eligible = layers.filter((layer) => layer.why === undefined);
  const keep = eligible.filter((layer) => layer.keeps);
  const stateOf = ({ keeps, why }: LayerSparsityResult): Cell => {
    if (keeps) return cell('sparse', 'good');
    return why === undefined ? cell('eligible', 'warn') : cell('dense', 'muted');
  };
  return {
    title: `Sparsity ${pattern}`,
    lead: `${keep.length} of ${counted(eligible.length, 'eligible layer')} keep the pattern; ${zeros.toFixed(1)} % of all weights are zero.`,
    columns: [
      left('node'),
      left('operator'),
      left(''),
      right('zeros'),
      right('broken groups'),
      left('why not'),
    ],
    rows: layers
      .slice(0, ROW_LIMIT)
      .map((layer) => [
        cell(layer.node),
        cell(layer.opType),
        stateOf(layer),
        cell(layer.zeros === undefined ? '–' : `${layer.zeros.toFixed(1)} %`),
        cell(layer.violations === undefined ? '–' : `${layer.violations} of ${layer.groups}`),
        cell(layer.why ?? ''),
      ]),
  };
}

/** What distillation gained on calibration samples that it did not learn from. */
export function distillationSection({ bestStep, steps, samples, output, late }: DistillReport): Section {
  const row = (name: string, before: number, after: number, weight: string): Cell[] => [
    cell(name),
    cell(significant(before)),
    cell(significant(after), after < before ? 'good' : 'plain'),
    cell(weight),
  ];
  return {
    title: 'Distillation',
    lead:
      bestStep === 0
        ? `${steps} steps found nothing better on ${samples.heldOut} held-out calibration samples, so the solved weights were kept.`
        : `Best after step ${bestStep} of ${steps}, on ${samples.heldOut} calibration samples that were not learned from.`,
    columns: [left('loss'), right('before'), right('after'), right('weight')],
    rows: [
      row('outputs', output.before, output.after, '1'),
      ...late.map(({ value, before, after, weight }) => row(value, before, after, significant(weight))),
    ],
  };
}
