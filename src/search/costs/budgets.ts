/** Budgets as users write them: `size=25%`, `size=120kB`, `bops=10%`, `size=50%@int8`. */
import { FxqError, didYouMean } from '../../core/index.js';
import { COSTS, type CostName } from './cost-models.js';

export interface Budget {
  readonly cost: CostName;
  /** An amount in the cost's unit, or a share of a reference. */
  readonly amount: { readonly kind: 'absolute'; readonly value: number } | ShareOf;
}

interface ShareOf {
  readonly kind: 'share';
  readonly share: number;
  /** What the share is taken of: everything in float, or everything in 8 bits. */
  readonly of: 'float' | 'int8';
}

/** Multiples of B, µs, pJ and plain counts. */
const UNITS: Readonly<Record<CostName, Readonly<Record<string, number>>>> = {
  size: bytes(),
  bits: bytes(),
  bops: counts(),
  macs: counts(),
  latency: { us: 1, µs: 1, ms: 1e3, s: 1e6 },
  energy: { pJ: 1, nJ: 1e3, uJ: 1e6, µJ: 1e6, mJ: 1e9 },
};

function bytes(): Record<string, number> {
  return { '': 1, B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };
}

function counts(): Record<string, number> {
  return { '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
}

/** Reads one budget. @throws FxqError E_USAGE naming what is wrong with it */
export function parseBudget(text: string): Budget {
  const fail = (what: string, hint: string): never => {
    throw new FxqError('E_USAGE', `budget '${text}': ${what}`, [
      hint,
      'Examples: size=25%, size=120kB, size=50%@int8, bops=10%.',
    ]);
  };
  const [, name = '', number = '', unit = '', reference] =
    /^(\w+)=([\d.]+(?:e\d+)?)([^@\s\d]*)(?:@(\w+))?$/.exec(text) ?? [];
  if (name === '') return fail('not of the form cost=amount', 'Give a cost and an amount.');
  if (!Object.hasOwn(COSTS, name))
    return fail(
      `there is no cost '${name}'`,
      didYouMean(name, Object.keys(COSTS)) || `Costs: ${Object.keys(COSTS).join(', ')}.`,
    );
  const cost = name as CostName;
  const value = Number(number);
  if (!(value > 0)) return fail(`${number} is not a positive number`, 'Give a positive amount.');
  if (unit === '%') {
    if (reference !== undefined && reference !== 'float' && reference !== 'int8')
      return fail(`there is no reference '${reference}'`, 'Shares are of @float (the default) or @int8.');
    return { cost, amount: { kind: 'share', share: value / 100, of: reference ?? 'float' } };
  }
  const factor = UNITS[cost][unit];
  if (factor === undefined || reference !== undefined)
    return fail(
      `'${unit}' is no unit of ${cost}`,
      `Units: %, ${Object.keys(UNITS[cost])
        .filter((u) => u !== '')
        .join(', ')}.`,
    );
  return { cost, amount: { kind: 'absolute', value: value * factor } };
}

/** The limit in the cost's unit, given the totals of the references. */
export function limitOf({ amount }: Budget, totals: Readonly<Record<'float' | 'int8', number>>): number {
  return amount.kind === 'absolute' ? amount.value : amount.share * totals[amount.of];
}
