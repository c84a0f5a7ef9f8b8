/** Units: numbers with a unit in gates, and numbers for people in reports. */
import { EXACT } from './result.js';

/** What one of a unit is, in the unit that results hold: bytes, milliseconds, percent, points, decibels. */
const UNITS = {
  '': { quantity: 'number', factor: 1 },
  '%': { quantity: '%', factor: 1 },
  points: { quantity: 'points', factor: 1 },
  B: { quantity: 'B', factor: 1 },
  kB: { quantity: 'B', factor: 1e3 },
  MB: { quantity: 'B', factor: 1e6 },
  GB: { quantity: 'B', factor: 1e9 },
  KiB: { quantity: 'B', factor: 1024 },
  MiB: { quantity: 'B', factor: 1024 ** 2 },
  GiB: { quantity: 'B', factor: 1024 ** 3 },
  us: { quantity: 'ms', factor: 1e-3 },
  ms: { quantity: 'ms', factor: 1 },
  s: { quantity: 'ms', factor: 1e3 },
  dB: { quantity: 'dB', factor: 1 },
} as const satisfies Record<string, { quantity: string; factor: number }>;

export const UNIT_NAMES: readonly string[] = Object.keys(UNITS).filter((name) => name !== '');

/** A number read with its unit: `{ value: 4e6, unit: 'B' }` for 4 MB. A bare number has unit ''. */
export interface Measure {
  readonly value: number;
  readonly unit: string;
}

/** The unit of differences between values of a unit: those of percentages are points. */
export function unitOfDifferences(unit: string): string {
  return unit === '%' ? 'points' : unit;
}

/** Reads `0.5`, `30 %`, `4 MB`, `12ms`; undefined when the text is no number with a known unit. */
export function parseMeasure(text: string): Measure | undefined {
  const match = /^([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([a-zµ%]*)$/i.exec(text.trim());
  if (match === null) return undefined;
  const [, number = '', unit = ''] = match;
  if (!Object.hasOwn(UNITS, unit)) return undefined;
  const row = UNITS[unit as keyof typeof UNITS];
  return { value: Number(number) * row.factor, unit: unit === '' ? '' : row.quantity };
}

/** A value of a quantity for people: `1.26 MB`, `0.31 ms`, `87.70 %`, `41.2 dB`, `exact`. */
export function formatMeasure(value: number, unit: string): string {
  if (Number.isNaN(value)) return 'n/a';
  switch (unit) {
    case 'B':
      return formatBytes(value);
    case 'ms':
      return `${formatMilliseconds(value)} ms`;
    case 'dB':
      return formatDecibels(value);
    case '%':
      return `${value.toFixed(2)} %`;
    case 'points':
      return `${value.toFixed(2)} points`;
    case '':
      return significant(value);
    default:
      return `${significant(value)} ${unit}`;
  }
}

/** Three digits: what a median of a few dozen runs is good for. */
export function formatMilliseconds(value: number): string {
  return value >= 100 ? String(Math.round(value)) : value.toPrecision(3);
}

/** SQNR in dB with one decimal; the limits of results in words. */
export function formatDecibels(value: number): string {
  if (value >= EXACT) return 'exact';
  return value <= -EXACT ? 'broken' : `${value.toFixed(1)} dB`;
}

export function formatBytes(bytes: number): string {
  const size = Math.abs(bytes);
  if (size < 1e3) return `${bytes} B`;
  if (size < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return size < 1e9 ? `${(bytes / 1e6).toFixed(2)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

/** Four significant digits without a trailing exponent where it can be avoided. */
export function significant(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  const text = value.toPrecision(4);
  return text.includes('e') ? text : String(Number(text));
}
