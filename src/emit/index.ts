/** emit: plans and solved weights written into a graph. */
export { emitQdq, type SolvedWeights } from './qdq.js';
export { parameterShape } from './weight.js';
