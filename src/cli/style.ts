/** Colours, where the stream shows them: NO_COLOR, FORCE_COLOR and whether it is a terminal are Node's own business. */
import { styleText } from 'node:util';
import type { Paint } from '../report/index.js';

type Style = Parameters<typeof styleText>[0];

const STYLES = {
  plain: 'reset',
  title: 'bold',
  good: 'green',
  bad: ['bold', 'red'],
  warn: 'yellow',
  muted: 'dim',
} as const satisfies Record<string, Style | readonly string[]>;

/** A painter for text that goes to this stream. */
export function painter(stream: NodeJS.WritableStream): Paint {
  return (tone, text) =>
    tone === 'plain' || text === '' ? text : styleText(STYLES[tone] as Style, text, { stream });
}
