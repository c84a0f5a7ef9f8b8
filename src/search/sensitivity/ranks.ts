/** How well one way of ranking agrees with another. */
import { type Sensitivity } from './study.js';

/** Spearman's rank correlation; ties share their mean rank. NaN when one side is constant. */
export function spearman(a: readonly number[], b: readonly number[]): number {
  return pearson(ranks(a), ranks(b));
}

function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((i, j) => (values[i] ?? 0) - (values[j] ?? 0));
  const out = new Array<number>(values.length).fill(0);
  for (let from = 0; from < order.length;) {
    let to = from;
    while (to < order.length && values[order[to] ?? 0] === values[order[from] ?? 0]) to++;
    for (let k = from; k < to; k++) out[order[k] ?? 0] = (from + to - 1) / 2;
    from = to;
  }
  return out;
}

function pearson(a: readonly number[], b: readonly number[]): number {
  const n = a.length;
  const [meanA, meanB] = [a, b].map((v) => v.reduce((sum, x) => sum + x, 0) / n) as [number, number];
  let [product, squareA, squareB] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [x, y] = [(a[i] as number) - meanA, (b[i] as number) - meanB];
    product += x * y;
    squareA += x * x;
    squareB += y * y;
  }
  return product / Math.sqrt(squareA * squareB);
}

export interface RankAgreement {
  /** Over all groups, at each candidate; NaN where a candidate changes nothing. */
  readonly byCandidate: readonly number[];
  /** Over all pairs of group and candidate. */
  readonly overall: number;
}

/** Rank correlation of two sensitivities of the same study. */
export function rankAgreement(a: Pick<Sensitivity, 'loss'>, b: Pick<Sensitivity, 'loss'>): RankAgreement {
  const candidates = Math.max(...a.loss.map((row) => row.length), 0);
  const column = ({ loss }: Pick<Sensitivity, 'loss'>, c: number): number[] =>
    loss.flatMap((row) => row[c] ?? []);
  return {
    byCandidate: Array.from({ length: candidates }, (_, c) => spearman(column(a, c), column(b, c))),
    overall: spearman(a.loss.flat(), b.loss.flat()),
  };
}

/**
 * How well the two halves of the samples agree, and what that promises for all of them (Spearman and Brown:
 * 2r / (1 + r)). Undefined where there are no halves.
 */
export function splitHalfReliability({ halves }: Sensitivity): RankAgreement | undefined {
  if (halves === undefined) return undefined;
  const { byCandidate, overall } = rankAgreement({ loss: halves[0] }, { loss: halves[1] });
  const ofBoth = (r: number): number => (2 * r) / (1 + r);
  return { byCandidate: byCandidate.map(ofBoth), overall: ofBoth(overall) };
}
