/** Where an interrupted distillation continues: state and best parameters so far, in a file named by all they depend on. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson, writeOutput } from '../../core/index.js';
import { isTensor, mapTree, type Tree } from '../../program/index.js';
import { readNpz, tensor, writeNpz, type Tensor } from '../../tensor/index.js';

/** Keeps numbers as JSON and a tree of tensors under one key. */
export interface ProgressFile<T> {
  read(): T | undefined;
  write(progress: T): void;
}

/** What is kept: facts that are JSON, and tensors. */
export type Kept<F, S extends Tree<Tensor>> = { readonly facts: F; readonly tensors: S };

/**
 * A file in a folder, written whole or not at all; a damaged one counts as none.
 *
 * @param like tensors nested as those that will be kept
 */
export function progressFile<F, S extends Tree<Tensor>>(
  folder: string,
  key: string,
  like: S,
): ProgressFile<Kept<F, S>> {
  const path = join(folder, `${key}.distill.npz`);
  return {
    read: () => {
      if (!existsSync(path)) return undefined;
      try {
        const arrays = readNpz(readFileSync(path), path);
        const facts = JSON.parse(new TextDecoder().decode(arrays.get('facts')?.data as Uint8Array)) as F;
        const tensors: unknown = mapTree<Tensor, Tensor>(like, isTensor, (leaf, at) => {
          const found = arrays.get(at);
          if (found?.data.length !== leaf.data.length) throw new Error(`${at} is missing`);
          return { ...found, dims: leaf.dims };
        });
        return { facts, tensors: tensors as S };
      } catch {
        return undefined;
      }
    },
    write: ({ facts, tensors }) => {
      const text = new TextEncoder().encode(canonicalJson(facts));
      const arrays: [string, Tensor][] = [['facts', tensor('uint8', [text.length], text)]];
      mapTree<Tensor, void>(tensors, isTensor, (leaf, at) => void arrays.push([at, leaf]));
      writeOutput(path, [writeNpz(new Map(arrays))]);
    },
  };
}
