/** emit/cpp: integer programs as self-contained C++17, with a test bench. */
export { writeCpp, type CppFiles, type CppOptions } from './cpp.js';
export { cIdentifier } from './names.js';
export { testVectors } from './test-bench.js';
export { CPP_TYPES, type CppTypes } from './types.js';
