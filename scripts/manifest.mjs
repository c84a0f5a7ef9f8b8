// Writes oclif.manifest.json from the built commands, as `oclif manifest` would.
import { Plugin } from '@oclif/core';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const plugin = new Plugin({
  root,
  type: 'core',
  ignoreManifest: true,
  errorOnManifestCreate: true,
  respectNoCacheDefault: true,
});
await plugin.load();
const target = process.argv[2] ?? new URL('../oclif.manifest.json', import.meta.url);
writeFileSync(target, `${JSON.stringify(plugin.manifest, null, 2)}\n`);
writeFileSync(new URL('../dist/.built', import.meta.url), '');
