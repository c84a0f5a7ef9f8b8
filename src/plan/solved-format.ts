/** The number format of a solved weight, with all that was chosen for it. */
import { storedFormat, type NumberFormat } from '../formats/index.js';
import { type SolvedWeight, type WeightQuantization } from './plan.js';

/** The planned format with the exponent or the levels that the solution has. */
export function solvedFormat(
  planned: Pick<WeightQuantization, 'format'>,
  solved: Pick<SolvedWeight, 'format' | 'levels'>,
): NumberFormat {
  return storedFormat(solved.format ?? planned.format, solved.levels);
}

/** What a solution has to say about its format beyond the planned one. */
export function chosenFormat(
  planned: NumberFormat,
  settled: NumberFormat,
): Pick<SolvedWeight, 'format' | 'levels'> {
  return {
    ...(settled.name === planned.name ? {} : { format: settled.name }),
    ...(settled.levels === undefined ? {} : { levels: settled.levels }),
  };
}
