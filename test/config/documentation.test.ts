import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { configSchema } from '../../src/config/schema.js';

/** Dotted paths of all keys; data sets are documented once, in a table of their own. */
function keys(schema: object, prefix = ''): string[] {
  let inner = schema;
  while ('unwrap' in inner && !('element' in inner)) inner = (inner.unwrap as () => object)();
  if (!('shape' in inner) || prefix.endsWith('data.')) return prefix === '' ? [] : [prefix.slice(0, -1)];
  return Object.entries(inner.shape as Record<string, object>).flatMap(([key, child]) =>
    keys(child, `${prefix}${key}.`),
  );
}

it('every key is in docs/configuration.md, and no other', () => {
  const text = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  const [, table = ''] = /## Keys\n([\s\S]*?)\n## /.exec(text) ?? [];
  const documented = [...table.matchAll(/^\| `([\w.]+)`/gm)].map((match) => match[1]);
  expect(documented.sort()).toEqual(keys(configSchema).sort());
});
