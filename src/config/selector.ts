/** Which nodes a setting means, in the short form of flags and lists. */
import { FxqError } from '../core/index.js';
import { regularExpression, type NodeMatch } from '../plan/index.js';

/**
 * Parses `name`, `/expression/`, `op:Type` or `from..to` (all nodes between two nodes or values).
 *
 * @throws FxqError E_CONFIG for an expression that is none
 */
export function parseSelector(text: string): NodeMatch {
  if (regularExpression(text) !== undefined) return { node: text };
  const type = /^op:(\w+)$/.exec(text)?.[1];
  if (type !== undefined) return { opType: type };
  const ends = /^(.+?)\.\.(.+)$/.exec(text);
  if (ends !== null) return { between: { from: ends[1] ?? '', to: ends[2] ?? '' } };
  if (text.trim() === '') throw new FxqError('E_CONFIG', 'an empty name matches no node', 'Leave it out.');
  return { node: text };
}
