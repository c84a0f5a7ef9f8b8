import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readInput, writeOutput, writeOutputs } from '../../src/core/index.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();

describe('reading', () => {
  it('says what the file was for, and why it cannot be read', () => {
    expect(() => readInput(join(folder, 'none'), 'labels')).toThrow(
      `cannot read labels ${join(folder, 'none')}: no such file or folder`,
    );
    expect(() => readInput(folder, 'labels')).toThrow('it is a folder');
  });
});

describe('writing', () => {
  it('makes folders, joins chunks and replaces what was there', () => {
    const path = join(folder, 'new/deep/file');
    writeOutput(path, ['old']);
    writeOutput(path, ['a', Buffer.from('b'), 'c']);
    expect(readFileSync(path, 'utf8')).toBe('abc');
    expect(readdirSync(join(path, '..'))).toEqual(['file']);
  });

  it('leaves the old file, and no other, when it fails half-way', () => {
    const path = join(folder, 'kept/file');
    writeOutput(path, ['old']);
    const failing = function* (): Iterable<string> {
      yield 'half';
      throw new Error('interrupted');
    };
    expect(() => writeOutput(path, failing())).toThrow(`cannot write ${path}: interrupted`);
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(join(path, '..'))).toEqual(['file']);
  });

  it('of files that belong together changes none when one fails', () => {
    const first = join(folder, 'pair/first');
    writeOutput(first, ['old']);
    const second = join(folder, 'pair/first/second');
    expect(() =>
      writeOutputs([
        { path: first, chunks: ['new'] },
        { path: second, chunks: ['x'] },
      ]),
    ).toThrow(`cannot write ${second}: a part of the path is not a folder`);
    expect(readFileSync(first, 'utf8')).toBe('old');
    expect(readdirSync(join(folder, 'pair'))).toEqual(['first']);
  });

  it.skipIf(process.getuid?.() === 0)('says that permission is missing', () => {
    const locked = join(folder, 'locked');
    mkdirSync(locked);
    chmodSync(locked, 0o500);
    expect(() => writeOutput(join(locked, 'file'), ['x'])).toThrow('permission denied');
    expect(existsSync(join(locked, 'file'))).toBe(false);
  });
});
