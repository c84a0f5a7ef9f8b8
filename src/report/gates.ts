/** Gates: one comparison each, such as `top1.drop <= 0.5` or `size.quantized < 4 MB`, that a pipeline can trust. */
import { FxqError, didYouMean } from '../core/index.js';
import { type Quantity } from './quantities.js';
import { type GateLevel, type GateResult } from './result.js';
import { parseMeasure, unitOfDifferences, UNIT_NAMES, type Measure } from './units.js';

/** Operators of gates. A value that is no number passes none of them. */
const OPERATORS = {
  '<=': (a, b) => a <= b,
  '>=': (a, b) => a >= b,
  '==': (a, b) => a === b,
  '<': (a, b) => a < b,
  '>': (a, b) => a > b,
} as const satisfies Record<string, (a: number, b: number) => boolean>;

export interface Gate {
  readonly text: string;
  readonly quantity: string;
  readonly operator: keyof typeof OPERATORS;
  readonly limit: Measure;
  readonly level: GateLevel;
}

/**
 * Parses `quantity operator number [unit]`.
 *
 * @throws FxqError E_USAGE saying what is wrong with the text
 */
export function parseGate(text: string, level: GateLevel = 'error'): Gate {
  const match = /^([^<>=]*[^<>=\s])\s*(<=|>=|==|<|>)([^<>=]+)$/.exec(text.trim());
  if (match === null) {
    throw new FxqError(
      'E_USAGE',
      `'${text}' is not a gate`,
      "Write a quantity, one of <= < >= > == and a number, for example 'top1.drop <= 0.5'.",
    );
  }
  const [, quantity = '', operator = '', number = ''] = match;
  const limit = parseMeasure(number);
  if (limit === undefined) {
    throw new FxqError(
      'E_USAGE',
      `'${number.trim()}' in the gate '${text.trim()}' is not a number with a known unit`,
      `Units are ${UNIT_NAMES.join(', ')}.`,
    );
  }
  return { text: text.trim(), quantity, operator: operator as Gate['operator'], limit, level };
}

/**
 * Checks gates against what was measured; failed ones come first, worst first.
 *
 * @throws FxqError E_USAGE for a quantity that was not measured or a unit that does not fit, all of them at once
 */
export function checkGates(gates: readonly Gate[], measured: ReadonlyMap<string, Quantity>): GateResult[] {
  const problems = gates.flatMap((gate) => gateProblem(gate, measured) ?? []);
  if (problems.length > 0) {
    throw new FxqError(
      'E_USAGE',
      problems.join('\n'),
      'fxq report --json lists what can be measured; docs/report.md explains the names.',
    );
  }
  return gates
    .flatMap((gate) => {
      const quantity = measured.get(gate.quantity);
      return quantity === undefined ? [] : [checkGate(gate, quantity)];
    })
    .sort((a, b) => Number(a.passed) - Number(b.passed) || rank(a) - rank(b) || b.excess - a.excess);
}

const rank = (gate: GateResult): number => (gate.level === 'error' ? 0 : 1);

function gateProblem(gate: Gate, measured: ReadonlyMap<string, Quantity>): string | undefined {
  const quantity = measured.get(gate.quantity);
  if (quantity === undefined) {
    const near = didYouMean(gate.quantity, measured.keys());
    return `the gate '${gate.text}' speaks of '${gate.quantity}', which was not measured${near && `; ${near}`}`;
  }
  // A drop of '0.5 %' is understood as points, which is what drops of percentages are.
  if (
    !['', quantity.unit].includes(gate.limit.unit) &&
    unitOfDifferences(gate.limit.unit) !== quantity.unit
  ) {
    const unit = quantity.unit === '' ? 'no unit' : `the unit ${quantity.unit}`;
    return `the gate '${gate.text}' gives ${gate.limit.unit}, but ${gate.quantity} has ${unit}`;
  }
  return undefined;
}

function checkGate(gate: Gate, { value, unit }: Quantity): GateResult {
  const limit = gate.limit.value;
  const passed = OPERATORS[gate.operator](value, limit);
  return {
    gate: gate.text,
    level: gate.level,
    passed,
    value,
    limit,
    unit,
    excess: passed
      ? 0
      : Number.isNaN(value)
        ? Number.MAX_VALUE
        : Math.abs(value - limit) / Math.max(Math.abs(limit), 1e-9),
  };
}
