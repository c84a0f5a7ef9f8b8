/** synthesis: inputs made from the statistics of batch normalizations. */
export { normalizedValues, reaches, type NormalizedValue } from './statistics.js';
export { type SearchProblem, type SoughtInput } from './program.js';
export { synthesizeInputs, type BatchLoss, type Synthesized } from './synthesize.js';
