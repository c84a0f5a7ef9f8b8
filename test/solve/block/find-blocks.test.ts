/** Blocks: cut where one value flows, joined while small, never behind a node without gradient rule. */
import { describe, expect, it } from 'vitest';
import { graph, node, storeTensor, value, type Graph } from '../../../src/onnx/index.js';
import { findBlocks } from '../../../src/solve/block/find-blocks.js';
import { findWeightedLayers } from '../../../src/solve/index.js';
import { tensor } from '../../../src/tensor/index.js';
import { toyNetwork } from './toy-network.js';

const blocksOf = (g: Graph, join: number): { layers: string[]; entries: string[]; exits: string[] }[] =>
  findBlocks(g, findWeightedLayers(g), { join }).map(({ layers, entries, exits }) => ({
    layers: layers.map((l) => l.node.name),
    entries: [...entries],
    exits: [...exits],
  }));

describe('findBlocks', () => {
  it('keeps a skip path inside a block, and ends behind what needs no weights', () => {
    expect(blocksOf(toyNetwork().graph, 1)).toEqual([
      { layers: ['first'], entries: [], exits: ['r0'] },
      { layers: ['depthwise', 'pointwise'], entries: ['r0'], exits: ['flat'] },
      { layers: ['head'], entries: ['flat'], exits: ['logits'] },
    ]);
  });

  it('joins neighbours up to a number of layers', () => {
    expect(blocksOf(toyNetwork().graph, 3).map((b) => b.layers)).toEqual([
      ['first', 'depthwise', 'pointwise'],
      ['head'],
    ]);
    expect(blocksOf(toyNetwork().graph, 4)).toHaveLength(1);
  });

  const dense = (name: string, input: string, output: string) =>
    node('MatMul', [input, 'w'.concat(name)], [output], {}, { name });
  const weights = (...names: string[]) =>
    names.map((n) => [`w${n}`, storeTensor(tensor('float32', [4, 4]))] as const);

  it('does not reach over an operator without gradient rule', () => {
    const g = graph({
      name: 'g',
      inputs: [value('x', 'float32', ['N', 4])],
      outputs: [value('y', 'float32', ['N', 4])],
      nodes: [
        dense('a', 'x', 'h'),
        node('Relu', ['h'], ['r'], {}, { name: 'relu' }),
        node('Cumulate', ['r'], ['s'], {}, { name: 'odd', domain: 'my.domain' }),
        dense('b', 's', 'y'),
      ],
      initializers: weights('a', 'b'),
    });
    expect(blocksOf(g, 4)).toEqual([
      { layers: ['a'], entries: [], exits: ['r'] },
      { layers: ['b'], entries: ['s'], exits: ['y'] },
    ]);
  });

  it('leaves out what follows from inputs alone, and hands on outputs of the network on the way', () => {
    const g = graph({
      name: 'g',
      inputs: [value('x', 'float32', ['N', 4]), value('mask', 'float32', ['N', 4])],
      outputs: [value('early', 'float32', ['N', 4]), value('y', 'float32', ['N', 4])],
      nodes: [
        node('Neg', ['mask'], ['side'], {}, { name: 'neg' }),
        dense('a', 'x', 'h'),
        node('Tanh', ['h'], ['early'], {}, { name: 'tanh' }),
        node('Add', ['h', 'side'], ['m'], {}, { name: 'add' }),
        dense('b', 'm', 'y'),
      ],
      initializers: weights('a', 'b'),
    });
    const [first, second] = blocksOf(g, 1);
    expect(first).toEqual({ layers: ['a'], entries: [], exits: ['early', 'm'] });
    expect(second).toEqual({ layers: ['b'], entries: ['m'], exits: ['y'] });
  });

  it('cuts where several values flow rather than learn very many layers at once', () => {
    const names = Array.from({ length: 8 }, (_, i) => `l${i}`);
    const g = graph({
      name: 'g',
      inputs: [value('x', 'float32', ['N', 4])],
      outputs: [value('y', 'float32', ['N', 4])],
      nodes: [
        dense('l0', 'x', 'v0'),
        ...names.slice(1).map((n, i) => dense(n, `v${i}`, `v${i + 1}`)),
        node('Add', ['v0', 'v7'], ['y'], {}, { name: 'add' }),
      ],
      initializers: weights(...names),
    });
    const sizes = (split: number): number[] =>
      findBlocks(g, findWeightedLayers(g), { join: 2, split }).map((b) => b.layers.length);
    expect(sizes(12)).toEqual([1, 7]);
    expect(sizes(4).every((n) => n <= 2)).toBe(true);
  });
});
