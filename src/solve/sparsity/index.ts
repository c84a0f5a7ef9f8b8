/** sparsity: N:M patterns in weights — masks, joint pruning and rounding, eligibility, packed form, verification. */
export { channelStream, type ChannelConstant, type ChannelStream } from './channel-stream.js';
export { permuteChannels } from './apply-permutation.js';
export { sparseEligibility, type EligibilityOptions, type SparseEligibility } from './eligibility.js';
export {
  JOINT_DEFAULTS,
  jointSparse,
  pruneByExchange,
  roundPruned,
  settleSparse,
  startMask,
  type JointOptions,
  type MaskStart,
  type SparseSolution,
} from './joint.js';
export { magnitudeMask, wandaMask } from './masks.js';
export { groupBits, indexBits, packWeight, packedBytes, unpackWeight, type PackedWeight } from './packed.js';
export { formatPattern, maskByScore, parsePattern, patternColumns, type Pattern } from './pattern.js';
export {
  permuteNetwork,
  type ChannelPermutation,
  type FixedChannels,
  type PermutedChannels,
  type PermutedNetwork,
} from './permute-network.js';
export { searchPermutation, type ChannelScores, type PermutationResult } from './permute.js';
export { readSidecar, writeSidecar, type SidecarWeight } from './sidecar.js';
export { SPARSE_SOLVERS, isSparseSolver, solveSparse, type SparseSolver } from './solve-sparse.js';
export { sparseGpt, type PrunedMatrix } from './sparse-gpt.js';
export { surveySparsity, type LayerSurvey, type SparsitySurvey } from './survey.js';
export { countPattern, verifySparsity, type LayerSparsity, type PatternCount } from './verify.js';
