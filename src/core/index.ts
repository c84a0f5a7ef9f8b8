/** core: what every folder may use — errors, seeded randomness, hashes, safe file writing, threads, the run's context. */
export { EXIT, FxqError, assert, required, type ErrorCode } from './errors.js';
export { createRng, type Rng } from './rng.js';
export { canonicalJson, hashValue, sha256 } from './hash.js';
export {
  checkAbort,
  createContext,
  type Context,
  type Note,
  type NoteLevel,
  type Progress,
} from './context.js';
export { canStartThread, serveThread, sharedFloat64, startThread, type Thread } from './threads.js';
export { readInput, writeOutput, writeOutputs, type OutputFile } from './files.js';
export { checkOutputs } from './outputs.js';
export { didYouMean, editDistance, nearestNames } from './names.js';
