/** The architecture as rules: who may import whom, and what may reach outside. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** Folders of src in rank order: a file imports from its own folder and from folders before it. */
const RANKS = [
  'core',
  'tensor',
  'onnx',
  'formats',
  'engine',
  'rewrite',
  'program',
  'data',
  'plan',
  'calibrate',
  'solve',
  'search',
  'emit',
  'report',
  'config',
  'pipeline',
  'cli',
  'commands',
  '.',
];

/** Packages that only some folders may load. */
const CONFINED: Record<string, readonly string[]> = {
  protobufjs: ['onnx'],
  'onnxruntime-node': ['engine'],
  ora: ['cli', 'commands'],
  '@oclif/core': ['cli', 'commands'],
};

/** The world outside: terminal, environment, clock and unseeded chance belong to the command line. */
const OUTSIDE =
  /\bprocess\s*[.[]|\bconsole\s*\.|\bDate\s*\.\s*now\b|\bnew Date\(\)|\bperformance\s*\.|\bMath\s*\.\s*random\b|'node:process'/;
const OUTERMOST = ['cli', 'commands'];

interface Source {
  /** Path in src, as `onnx/model.ts`. */
  readonly file: string;
  readonly folder: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const root = fileURLToPath(new URL('../src', import.meta.url));
const sources = readSources(root);

function readSources(folder: string): Source[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .sort()
    .map((file) => parse(file, readFileSync(join(folder, file), 'utf8')));
}

function parse(file: string, text: string): Source {
  const imports = [...text.matchAll(/(?:\bfrom|\bimport\(|^import)\s*'([^']+)'/gm)].map(
    (match) => match[1] ?? '',
  );
  return { file, folder: file.includes('/') ? (file.split('/')[0] ?? '') : '.', text, imports };
}

/** Code without comments and strings: a coarse cut that never hides code. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '');
}

/** The file in src that a relative import names. */
function target(from: Source, specifier: string): string {
  return join(dirname(from.file), specifier).replace(/\.js$/, '.ts');
}

const isRelative = (specifier: string): boolean => specifier.startsWith('.');
const folderOf = (file: string): string => parse(file, '').folder;

/** Every breach of the rules, one line each. */
function breaches(files: readonly Source[]): string[] {
  return files.flatMap((source) => [
    ...source.imports.flatMap((specifier) =>
      isRelative(specifier)
        ? relativeBreach(source, target(source, specifier))
        : packageBreach(source, specifier),
    ),
    ...outsideBreach(source),
  ]);
}

function relativeBreach(source: Source, file: string): string[] {
  const other = folderOf(file);
  if (other === source.folder)
    return file === `${other}/index.ts` ? [`${source.file} imports the index of its own folder`] : [];
  if (RANKS.indexOf(other) > RANKS.indexOf(source.folder))
    return [`${source.file} imports ${file}, which ranks higher`];
  // The command line has no index: each command loads only what it needs.
  return file === `${other}/index.ts` || other === 'cli'
    ? []
    : [`${source.file} imports ${file} past the index of ${other}`];
}

function packageBreach(source: Source, specifier: string): string[] {
  const owner = Object.keys(CONFINED).find((name) => specifier === name || specifier.startsWith(`${name}/`));
  return owner === undefined || CONFINED[owner]?.includes(source.folder)
    ? []
    : [`${source.file} imports ${specifier}, which belongs to ${CONFINED[owner]?.join(' and ')}`];
}

function outsideBreach(source: Source): string[] {
  const found = OUTERMOST.includes(source.folder) ? null : OUTSIDE.exec(withoutComments(source.text));
  return found === null ? [] : [`${source.file} uses ${found[0]}`];
}

/** A chain of imports that comes back to its start, if there is one. */
function findCycle(files: readonly Source[]): string[] {
  const byName = new Map(files.map((source) => [source.file, source]));
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    const source = byName.get(file);
    if (source === undefined || done.has(file)) return [];
    for (const specifier of source.imports.filter(isRelative)) {
      const cycle = visit(target(source, specifier), [...path, file]);
      if (cycle.length > 0) return cycle;
    }
    done.add(file);
    return [];
  };
  for (const { file } of files) {
    const cycle = visit(file, []);
    if (cycle.length > 0) return cycle;
  }
  return [];
}

describe('src', () => {
  it('has only folders with a rank', () =>
    expect([...new Set(sources.map((s) => s.folder))].filter((f) => !RANKS.includes(f))).toEqual([]));

  it('imports in one direction, through the index of a folder, packages where they belong', () =>
    expect(breaches(sources)).toEqual([]));

  it('has no cycle', () => expect(findCycle(sources)).toEqual([]));

  it('imports only files that are there', () => {
    const known = new Set(sources.map((s) => s.file));
    const missing = sources.flatMap((s) =>
      s.imports
        .filter(isRelative)
        .map((i) => target(s, i))
        .filter((f) => !known.has(f)),
    );
    expect(missing).toEqual([]);
  });

  it('says at the top of each file what it is for', () =>
    expect(sources.filter(({ text }) => !/^\/\*\*?\s/.test(text)).map((s) => s.file)).toEqual([]));

  it('has no drawer for this and that', () =>
    expect(
      sources.filter(({ file }) => /\b(utils?|helpers?|common|misc)\b/.test(file)).map((s) => s.file),
    ).toEqual([]));
});

describe('the rules', () => {
  it.each([
    ['core/a.ts', "import { x } from '../onnx/index.js';", 'ranks higher'],
    ['engine/a.ts', "export * from '../onnx/model.js';", 'past the index of onnx'],
    ['onnx/a.ts', "import { x } from './index.js';", 'the index of its own folder'],
    ['solve/a.ts', "import protobuf from 'protobufjs';", 'belongs to onnx'],
    ['solve/a.ts', "const ort = await import('onnxruntime-node');", 'belongs to engine'],
    ['solve/a.ts', "import x from 'protobufjs/light.js';", 'belongs to onnx'],
    ['solve/a.ts', 'const t = Date.now();', 'uses Date.now'],
    ['solve/a.ts', "console.log('x')", 'uses console.'],
    ['solve/a.ts', 'if (process.env.X) f();', 'uses process.'],
  ])('catch %s with %s', (file, text, message) =>
    expect(breaches([parse(file, text)]).join()).toContain(message),
  );

  it.each([
    [
      'solve/a.ts',
      "import { x } from '../onnx/index.js';\n// console.log is for commands\nimport type * as y from './b.js';",
    ],
    ['cli/a.ts', "import ora from 'ora';\nconsole.log(process.argv, Date.now());"],
  ])('allow %s with %s', (file, text) => expect(breaches([parse(file, text)])).toEqual([]));

  it('catch a cycle', () => {
    const a = parse('onnx/a.ts', "import './b.js';");
    const b = parse('onnx/b.ts', "export { x } from './c.js';");
    const c = parse('onnx/c.ts', "const x = import('./a.js');");
    expect(findCycle([a, b, c])).toEqual(['onnx/a.ts', 'onnx/b.ts', 'onnx/c.ts', 'onnx/a.ts']);
    expect(findCycle([a, b])).toEqual([]);
  });
});
