/** One table of a report before it is text, Markdown or HTML, and what tables are made of. */
export type Tone = 'plain' | 'good' | 'bad' | 'warn' | 'muted';

export interface Cell {
  readonly text: string;
  readonly tone: Tone;
}

export interface Column {
  readonly title: string;
  readonly align: 'left' | 'right';
}

export interface Section {
  readonly title: string;
  /** One sentence under the title. */
  readonly lead?: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
}

/** Rows of a table for people; the JSON report has them all. */
export const ROW_LIMIT = 30;

export const left = (title: string): Column => ({ title, align: 'left' });
export const right = (title: string): Column => ({ title, align: 'right' });
export const cell = (text: string, tone: Tone = 'plain'): Cell => ({ text, tone });

export const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;
