/** Sections about number formats: binary points, word lengths and their cost, shifts and additions, QDQ differences. */
import { type ShiftAddCount } from '../formats/index.js';
import {
  type BinaryPointEvidence,
  type DifferenceEvidence,
  type FormatEvidence,
  type ShiftAddEvidence,
  type WordLengthEvidence,
} from './evidence.js';
import { ROW_LIMIT, cell, left, right, type Section } from './section.js';
import { formatDecibels, significant } from './units.js';

/** Sections for what there is. */
export function evidenceSections(evidence: FormatEvidence): Section[] {
  const { binaryPoints, wordLengths, shiftAdds, differences } = evidence;
  return [
    ...(binaryPoints === undefined ? [] : [binaryPointSection(binaryPoints)]),
    ...(wordLengths === undefined ? [] : [wordSection(wordLengths), costSection(wordLengths)]),
    ...(shiftAdds === undefined ? [] : [shiftAddSection(shiftAdds)]),
    ...(differences === undefined ? [] : [differenceSection(differences)]),
  ];
}

function binaryPointSection({ method, kept, trials, learned }: BinaryPointEvidence): Section {
  const moved = learned === undefined ? '' : ` Learning moved ${learned.moved} of ${learned.points} points.`;
  const why = kept === undefined ? '' : ', which does better than learned on samples held out';
  const skipped =
    learned === undefined || learned.skipped.length === 0 ? '' : ` ${learned.skipped.join('; ')}.`;
  return {
    title: 'Binary points',
    lead: `Chosen: ${kept ?? method}${why}. Mean SQNR of the outputs on calibration samples, weights rounded to nearest.${moved}${skipped}`,
    columns: [left('method'), right('seen'), right('held out')],
    rows: trials.map((trial) => [
      cell(trial.method),
      cell(formatDecibels(trial.fit)),
      cell(trial.heldOut === undefined ? '–' : formatDecibels(trial.heldOut)),
    ]),
  };
}

function wordSection({ resolution, epsilon, weights, activations }: WordLengthEvidence): Section {
  const elements = weights.reduce((sum, w) => sum + w.elements, 0);
  const bits = weights.reduce((sum, w) => sum + w.bits * w.elements, 0) / Math.max(elements, 1);
  const words = [
    ...weights.map((w) => ({ ...w, kind: 'weight', note: `${w.elements} weights` })),
    ...activations.map((a) => ({ ...a, kind: 'activation', note: '' })),
  ];
  const cut = words.filter((w) => w.divergence > epsilon).length;
  const but = cut === 0 ? '' : ` ${cut} would need longer words than there are and exceed it.`;
  const more = words.length > ROW_LIMIT ? ` The first ${ROW_LIMIT} of ${words.length}:` : '';
  return {
    title: 'Word lengths',
    lead: `Smallest words with a KL divergence of at most ${epsilon} at ${resolution} bins; weights take ${bits.toFixed(2)} bits on average.${but}${more}`,
    columns: [left('tensor'), left(''), right('W'), right('F'), right('KL'), left('')],
    rows: words
      .slice(0, ROW_LIMIT)
      .map((w) => [
        cell(w.tensor),
        cell(w.kind),
        cell(`${w.bits}`),
        cell(`${w.fraction}`),
        cell(significant(w.divergence)),
        cell(w.note),
      ]),
  };
}

function costSection({ cost, assumptions }: WordLengthEvidence): Section {
  return {
    title: 'Predicted cost',
    lead: `A prediction of AdaPT's analytical model, not a measurement. It assumes: ${assumptions.join('; ')}.`,
    columns: [left(''), right('')],
    rows: [
      [cell('bit operations'), cell(cost.bitOperations.toExponential(3))],
      [cell('bit operations at 32 bits'), cell(cost.floatBitOperations.toExponential(3))],
      [cell('predicted speed-up'), cell(`${cost.speedup.toFixed(2)}x`)],
      [cell('predicted size'), cell(`${(100 * cost.sizeRatio).toFixed(1)} %`)],
    ],
  };
}

function shiftAddSection(all: readonly ShiftAddEvidence[]): Section {
  const total = (of: (count: ShiftAddCount) => number): number => all.reduce((sum, c) => sum + of(c), 0);
  const more = all.length > ROW_LIMIT ? ` The first ${ROW_LIMIT} of ${all.length} tensors:` : '';
  return {
    title: 'Shifts and additions',
    lead:
      `In place of one multiplication by every weight: ${total((c) => c.shifts)} shifts and ${total((c) => c.adds)} additions, ` +
      `${total((c) => c.zeros)} weights are zero; accumulation not counted.${more}`,
    columns: [left('weight'), left('format'), right('shifts'), right('additions'), right('zeros')],
    rows: all
      .slice(0, ROW_LIMIT)
      .map((c) => [
        cell(c.tensor),
        cell(c.format),
        cell(`${c.shifts}`),
        cell(`${c.adds}`),
        cell(`${c.zeros}`),
      ]),
  };
}

function differenceSection({ samples, values, differing, largestStep }: DifferenceEvidence): Section {
  return {
    title: 'QDQ against integers',
    lead:
      `The QDQ form of the same plan computes with floats, so ties and long sums may differ: ${differing} of ${values} ` +
      `output values over ${samples} calibration samples do, by at most ${largestStep} steps.`,
    columns: [],
    rows: [],
  };
}
