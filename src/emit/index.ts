/** emit: plans and solved weights written into a graph. */
export { opsetForSettings } from './opset.js';
export { emitQdq, type SolvedWeights } from './qdq.js';
export { parameterShape } from './weight.js';
