/** Which output positions of a layer enter its Gram matrix: all, or a lattice whose offset changes from batch to batch. */

/** Every `step[i]`-th position along spatial axis i. */
export type Lattice = readonly number[];

/**
 * The coarsest lattice that still gives `wanted` rows.
 *
 * @param sizes   output positions along each axis, of one sample
 * @param samples number of samples
 */
export function chooseLattice(sizes: readonly number[], samples: number, wanted: number): Lattice {
  const step = sizes.map(() => 1);
  const rowsWith = (at: number): number =>
    sizes.reduce(
      (rows, size, i) => rows * Math.floor(size / ((step[i] as number) + (i === at ? 1 : 0))),
      samples,
    );
  for (;;) {
    // The axis with most positions left is thinned next, as long as enough rows remain.
    const axes = sizes
      .map((size, i) => ({ i, left: Math.floor(size / (step[i] as number)) }))
      .filter(({ i, left }) => left > 1 && rowsWith(i) >= wanted)
      .sort((a, b) => b.left - a.left || a.i - b.i);
    const next = axes[0];
    if (next === undefined) return step;
    step[next.i] = (step[next.i] as number) + 1;
  }
}
