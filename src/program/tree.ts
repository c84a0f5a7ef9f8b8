/** Nested records and lists of leaves: how parameters, their gradients and optimizer states are grouped. */

import { type DType } from '../tensor/index.js';

/** A leaf, or a list or record of trees. */
export type Tree<L> = L | readonly Tree<L>[] | TreeRecord<L>;

interface TreeRecord<L> {
  readonly [key: string]: Tree<L>;
}

/** The nesting of `T` with tensors in place of values, or values in place of tensors. */
export type MapTree<T, To> = T extends { readonly dtype: DType }
  ? To
  : { readonly [K in keyof T]: MapTree<T[K], To> };

/** What tells a leaf from a list or record. */
export type IsLeaf<L> = (node: unknown) => node is L;

/** Leaves in order: lists by index, records by insertion. */
export function leaves<L>(tree: Tree<L>, isLeaf: IsLeaf<L>): L[] {
  const found: L[] = [];
  mapTree(tree, isLeaf, (leaf) => void found.push(leaf));
  return found;
}

/** The same nesting with every leaf replaced; `path` is the leaf's place, `block.0.weight`. */
export function mapTree<L, M>(
  tree: Tree<L>,
  isLeaf: IsLeaf<L>,
  change: (leaf: L, path: string) => M,
  path = '',
): Tree<M> {
  if (isLeaf(tree)) return change(tree, path);
  const below = (key: string | number): string => (path === '' ? String(key) : `${path}.${key}`);
  if (Array.isArray(tree)) {
    return (tree as readonly Tree<L>[]).map((node, i) => mapTree(node, isLeaf, change, below(i)));
  }
  const entries = Object.entries(tree as Record<string, Tree<L>>);
  return Object.fromEntries(entries.map(([key, node]) => [key, mapTree(node, isLeaf, change, below(key))]));
}
