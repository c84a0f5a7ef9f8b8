/** Small files of data, and data sets read back whole. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createContext, type Context } from '../../src/core/index.js';
import { openDataSet, type DataSet, type DataSpec } from '../../src/data/index.js';
import { feedInputs, type Model } from '../../src/onnx/index.js';
import { tensor, writeNpy, writeNpz, type DType, type Tensor } from '../../src/tensor/index.js';

/** 0, 1, 2 … in some shape. */
export function counting(dtype: DType, dims: readonly number[], start = 0): Tensor {
  const length = dims.reduce((product, d) => product * d, 1);
  const values = Array.from({ length }, (_, i) => start + i);
  return dtype === 'int64' ? tensor(dtype, dims, values.map(BigInt)) : tensor(dtype, dims, values);
}

export function saveNpy(folder: string, name: string, array: Tensor): string {
  const path = join(folder, name);
  writeFileSync(path, writeNpy(array));
  return path;
}

export function saveNpz(folder: string, name: string, arrays: Record<string, Tensor>): string {
  const path = join(folder, name);
  writeFileSync(path, writeNpz(new Map(Object.entries(arrays))));
  return path;
}

export function open(spec: DataSpec, model: Model, ctx: Context = createContext()): Promise<DataSet> {
  return openDataSet(spec, feedInputs(model.graph), ctx);
}

/** One input over all batches: the shape of every batch, and all numbers. */
export async function readInput(
  data: DataSet,
  name: string,
  batch = 2,
): Promise<{ shapes: (readonly number[])[]; values: number[] }> {
  const shapes: (readonly number[])[] = [];
  const values: number[] = [];
  for await (const { inputs } of data.batches(batch)) {
    const fed = inputs.get(name)!;
    shapes.push(fed.dims);
    values.push(...Array.from(fed.data as ArrayLike<number | bigint>, Number));
  }
  return { shapes, values };
}
