import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkOutputs } from '../../src/core/index.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
writeFileSync(at('model.onnx'), 'model');
symlinkSync(at('model.onnx'), at('link.onnx'));
mkdirSync(at('data'));

describe('outputs', () => {
  it('may be new, replace an older output, and lie in a folder that is read', () => {
    writeFileSync(at('old.fxq'), '');
    expect(() =>
      checkOutputs(
        [at('new/out.onnx'), at('old.fxq'), at('data/out.npz')],
        [
          ['the float model', at('model.onnx')],
          ['the data', at('data')],
          ['the labels', undefined],
        ],
      ),
    ).not.toThrow();
  });

  it.each(['model.onnx', 'link.onnx', 'data/../model.onnx'])('never replace an input, as %s', (name) => {
    expect(() => checkOutputs([`${folder}/${name}`], [['the float model', at('model.onnx')]])).toThrow(
      'would overwrite the float model',
    );
  });

  it('are no folders', () => {
    expect(() => checkOutputs([at('data')], [])).toThrow('it is a folder');
  });

  it('have a file each', () => {
    expect(() => checkOutputs([at('a.html'), `${folder}/./a.html`], [])).toThrow('two outputs');
  });
});
