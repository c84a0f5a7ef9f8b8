/** Colours, where the stream shows them: NO_COLOR, FORCE_COLOR and whether it is a terminal are Node's own business. */
import { styleText } from 'node:util';
import type { Paint, Tone } from '../report/index.js';

type Style = 'bold' | 'red' | 'green' | 'yellow' | 'dim';

const STYLES: Readonly<Record<Tone | 'title', readonly Style[]>> = {
  plain: [],
  title: ['bold'],
  good: ['green'],
  bad: ['bold', 'red'],
  warn: ['yellow'],
  muted: ['dim'],
};

/** A painter for text that goes to this stream. */
export function painter(stream: NodeJS.WritableStream): Paint {
  // One style at a time: given a list, styleText of Node 20 does not look at the stream.
  return (tone, text) => STYLES[tone].reduce((painted, style) => styleText(style, painted, { stream }), text);
}
