/** Charts as SVG text: bars, lines and histograms, the same bytes for the same numbers. Colours come from CSS classes. */

/** One series of bars or points, drawn with the CSS class `series-<index>`. */
export interface Series {
  readonly name: string;
  readonly values: readonly number[];
}

export interface ChartOptions {
  /** Said to people who cannot see the chart. */
  readonly title: string;
  readonly labels: readonly string[];
  readonly series: readonly Series[];
  readonly unit: string;
  /** Shown on hover, one for each label; the label and values when absent. */
  readonly details?: readonly string[];
}

const WIDTH = 960;
const HEIGHT = 260;
const MARGIN = { top: 12, right: 12, bottom: 26, left: 56 };
const INNER = { width: WIDTH - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };

/** Grouped vertical bars, one group for each label. */
export function barChart(options: ChartOptions): string {
  const { labels, series } = options;
  const axis = axisFor(series.flatMap((s) => s.values));
  const step = INNER.width / Math.max(labels.length, 1);
  const gap = step > 6 ? step * 0.2 : 0;
  const width = (step - gap) / series.length;
  // A lone series is about the quantized model, whose colour is the second one.
  const first = series.length === 1 ? 1 : 0;
  const bars = labels.flatMap((label, i) =>
    series.map((s, k) => {
      const value = clamp(s.values[i] ?? 0, axis.low, axis.high);
      const top = axis.y(Math.max(value, 0));
      const height = axis.y(Math.min(value, 0)) - top;
      const x = MARGIN.left + i * step + gap / 2 + k * width;
      const detail = options.details?.[i] ?? `${label}: ${round(s.values[i] ?? 0)} ${options.unit}`;
      return `<rect class="series-${first + k}" x="${round(x)}" y="${round(top)}" width="${round(width)}" height="${round(Math.max(height, 0.5))}">${hint(detail)}</rect>`;
    }),
  );
  return frame(options.title, [grid(axis, options.unit), ...bars, positions(labels.length)]);
}

/** One line for each series over the labels. */
export function lineChart(options: ChartOptions): string {
  const { labels, series } = options;
  const axis = axisFor(series.flatMap((s) => s.values));
  const step = INNER.width / Math.max(labels.length, 1);
  const x = (i: number): number => MARGIN.left + (i + 0.5) * step;
  const marks = series.flatMap((s, k) => {
    const points = s.values.map((v, i) => `${round(x(i))},${round(axis.y(clamp(v, axis.low, axis.high)))}`);
    const dots = points.map((point, i) => {
      const [cx = '', cy = ''] = point.split(',');
      const detail = options.details?.[i] ?? `${labels[i]}: ${round(s.values[i] ?? 0)} ${options.unit}`;
      return `<circle class="series-${k}" cx="${cx}" cy="${cy}" r="${step > 12 ? 3.5 : 2}">${hint(detail)}</circle>`;
    });
    return [`<polyline class="series-${k}" points="${points.join(' ')}"/>`, ...dots];
  });
  return frame(options.title, [grid(axis, options.unit), ...marks, positions(labels.length)]);
}

export interface HistogramOptions {
  readonly title: string;
  readonly counts: readonly number[];
  readonly low: number;
  readonly high: number;
  /** Interval marked behind the bars: what a number format can hold. */
  readonly range?: { readonly low: number; readonly high: number };
}

/** Histogram over equal steps, counts on a logarithmic scale so that tails stay visible. */
export function histogram({ title, counts, low, high, range }: HistogramOptions): string {
  const left = Math.min(low, range?.low ?? low);
  const right = Math.max(high, range?.high ?? high);
  const x = (value: number): number => MARGIN.left + ((value - left) / (right - left || 1)) * INNER.width;
  // Steps that share a bin of a sketch hold fractions of a count: zero at zero, never below.
  const heights = counts.map((count) => Math.log10(1 + count));
  const top = Math.max(...heights, 1);
  const width = (high - low) / Math.max(counts.length, 1);
  const base = MARGIN.top + INNER.height;
  const bars = counts.map((count, i) => {
    const from = low + i * width;
    const height = ((heights[i] ?? 0) / top) * INNER.height;
    const detail = `${significantText(from)} to ${significantText(from + width)}: ${count}`;
    return count === 0
      ? ''
      : `<rect class="series-1" x="${round(x(from))}" y="${round(base - height)}" width="${round(Math.max(x(from + width) - x(from) - 0.5, 0.5))}" height="${round(height)}">${hint(detail)}</rect>`;
  });
  const band =
    range === undefined
      ? ''
      : `<rect class="range" x="${round(x(range.low))}" y="${MARGIN.top}" width="${round(x(range.high) - x(range.low))}" height="${INNER.height}">${hint(`grid from ${significantText(range.low)} to ${significantText(range.high)}`)}</rect>`;
  const ticks = niceTicks(left, right, 8).map(
    (tick) =>
      `<text x="${round(x(tick))}" y="${HEIGHT - 8}" text-anchor="middle">${significantText(tick)}</text>`,
  );
  const line = `<line class="axis" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${base}" y2="${base}"/>`;
  return frame(title, [band, ...bars, line, ...ticks]);
}

interface Axis {
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
  readonly y: (value: number) => number;
}

function axisFor(values: readonly number[]): Axis {
  const finite = values.filter(Number.isFinite);
  const ticks = niceTicks(Math.min(0, ...finite), Math.max(0, ...finite, 1e-9), 5);
  const low = Math.min(ticks[0] ?? 0, ...finite, 0);
  const high = Math.max(ticks[ticks.length - 1] ?? 1, ...finite);
  const y = (value: number): number => MARGIN.top + ((high - value) / (high - low)) * INNER.height;
  return { low, high, ticks, y };
}

/** Round numbers (1, 2 or 5 times a power of ten) inside [low, high], about `count` of them. */
export function niceTicks(low: number, high: number, count: number): number[] {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5].find((m) => m * power >= raw) ?? 10) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function grid(axis: Axis, unit: string): string {
  return axis.ticks
    .map((tick) => {
      const y = round(axis.y(tick));
      const line = `<line class="${tick === 0 ? 'axis' : 'grid'}" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y}" y2="${y}"/>`;
      return `${line}<text x="${MARGIN.left - 6}" y="${round(axis.y(tick) + 4)}" text-anchor="end">${significantText(tick)}${unit && ` ${unit}`}</text>`;
    })
    .join('');
}

/** Numbers under the bars: the place in graph order. */
function positions(count: number): string {
  const step = INNER.width / Math.max(count, 1);
  return niceTicks(1, Math.max(count, 1), 12)
    .filter((tick) => Number.isInteger(tick))
    .map(
      (tick) =>
        `<text x="${round(MARGIN.left + (tick - 0.5) * step)}" y="${HEIGHT - 8}" text-anchor="middle">${tick}</text>`,
    )
    .join('');
}

function frame(title: string, parts: readonly string[]): string {
  const body = parts.filter((part) => part !== '').join('\n');
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeXml(title)}">\n${body}\n</svg>`;
}

function hint(text: string): string {
  return `<title>${escapeXml(text)}</title>`;
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Text as it may stand in HTML, SVG and attribute values. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ENTITIES[c] ?? c);
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);
const round = (value: number): number => Number(value.toFixed(2));
const significantText = (value: number): string => String(Number(value.toPrecision(3)));
