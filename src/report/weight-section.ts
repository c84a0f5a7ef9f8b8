/** What solvers made of each weight, for people. */
import { type LayerReport } from '../solve/index.js';
import { cell, left, right, type Cell, type Section, type Tone } from './section.js';
import { formatDecibels } from './units.js';

/**
 * Error of each solved layer's output, in dB against float, for nearest rounding and for the solver's codes: on the
 * samples that the codes were fitted to, and on samples held out.
 */
export function weightSection(reports: readonly LayerReport[]): Section {
  const fellBack = reports.filter((report) => report.fellBack).length;
  return {
    title: 'Learned weights',
    lead:
      'Signal to error of each layer by itself, nearest rounding → solver.' +
      (fellBack === 0 ? '' : ` ${fellBack} kept nearest rounding, which was better.`),
    columns: [left('node'), left('solver'), right('fit'), right('held out'), left('')],
    rows: reports.map(({ node, weight, solver, error, fellBack, block }) => [
      cell(node === '' ? weight : node),
      cell(fellBack ? 'nearest' : solver),
      change(error.nearest, error.fit),
      heldOut(error),
      cell(
        block === undefined ? '' : `block ${block.name}: ${block.adopted ? 'learned' : 'kept as it was'}`,
        'muted',
      ),
    ]),
  };
}

function heldOut({ heldOut, heldOutNearest }: LayerReport['error']): Cell {
  return heldOut === undefined || heldOutNearest === undefined ? cell('–') : change(heldOutNearest, heldOut);
}

function change(before: number, after: number): Cell {
  const tone: Tone = after < before ? 'good' : after > before ? 'warn' : 'plain';
  return cell(`${decibels(before)} → ${decibels(after)}`, tone);
}

/** Of a relative error; none at all is written as exact. */
const decibels = (error: number): string => (error === 0 ? 'exact' : formatDecibels(-10 * Math.log10(error)));
