/** tensor: element types and their packing, host tensors, NumPy files, distances between tensors. */
export * from './dtype.js';
export * from './float16.js';
export * from './metrics.js';
export { readNpy, readNpyHeader, readNpz, readNpzRecord, writeNpy, writeNpz, type NpyHeader } from './npy.js';
export * from './tensor.js';
