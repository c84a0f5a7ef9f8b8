/** The overflow policy `detect`: sums that leave their width on samples are refused, not computed. */
import { FxqError } from '../../core/index.js';
import { type Tensor } from '../../tensor/index.js';
import { signedBits } from './accumulator.js';
import { interpret } from './interpret.js';
import { type IntegerProgram } from './program.js';
import { accumulatorWidths, sumsProducts } from './widths.js';

/**
 * Runs samples through the program where its proofs leave room for sums of products beyond a width.
 *
 * @throws FxqError E_UNSUPPORTED naming the node and the sample whose sum needs more, or when there is no sample to try
 */
export function refuseOverflow(
  program: IntegerProgram,
  limit: number,
  samples: readonly ReadonlyMap<string, Tensor>[],
): void {
  const wide = accumulatorWidths(program).filter((width) => sumsProducts(width) && width.bits > limit);
  const [first] = wide;
  if (first === undefined) return;
  if (samples.length === 0) {
    throw new FxqError(
      'E_USAGE',
      `sums of ${first.node} may need ${first.bits} bits, and there are no samples to see whether they exceed ${limit}`,
      'Give --data PATH, or choose --accumulator-overflow split or drop-bits.',
    );
  }
  samples.forEach((sample, i) => {
    const { peaks } = interpret(program, sample);
    for (const { node } of wide) {
      const peak = peaks.get(node);
      const bits = peak === undefined ? 0 : signedBits(peak);
      if (bits <= limit) continue;
      throw new FxqError(
        'E_UNSUPPORTED',
        `${node}: sample ${i} needs an accumulator of ${bits} bits, ${limit} are allowed`,
        'Choose --accumulator-overflow split or drop-bits, or shorter words.',
      );
    }
  });
}
