/** oclif.manifest.json spares loading every command for --help; a stale one would show flags that are not there. */
import type { Command } from '@oclif/core';
import { readFileSync, readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { expect, it } from 'vitest';

interface Listed {
  readonly summary: string;
  readonly args: Record<string, object>;
  readonly flags: Record<string, { readonly description?: string; readonly char?: string }>;
}

const root = new URL('../../', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('oclif.manifest.json', root), 'utf8')) as {
  readonly commands: Record<string, Listed>;
  readonly version: string;
};
const names = readdirSync(new URL('src/commands', root)).map((file) => basename(file, '.ts'));

it('lists every command, of this version', () => {
  expect(Object.keys(manifest.commands).sort()).toEqual(names.sort());
  expect(manifest.version).toBe(JSON.parse(readFileSync(new URL('package.json', root), 'utf8')).version);
});

it.each(names)('has the flags and arguments of %s', async (name) => {
  const { default: command } = (await import(`../../src/commands/${name}.ts`)) as { default: typeof Command };
  const listed = manifest.commands[name]!;
  const flags = { ...command.baseFlags, ...command.flags };
  const describe = (all: Listed['flags']): object =>
    Object.fromEntries(Object.entries(all).map(([key, { description, char }]) => [key, [description, char]]));
  const { json: _json, ...shown } = listed.flags;
  expect(listed.summary).toBe(command.summary);
  expect(Object.keys(listed.args)).toEqual(Object.keys(command.args));
  expect(describe(shown)).toEqual(describe(flags as Listed['flags']));
});
