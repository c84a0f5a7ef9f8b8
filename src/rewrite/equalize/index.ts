/** equalize: channels divided and weights multiplied, so that the model computes the same and quantizes better. */
export { absorbBiases, absorbable, type AbsorbedBias, type ChannelRange } from './absorb.js';
export { findChannelGroups } from './channel-groups.js';
export { type ChannelGroup, type ChannelGroups } from './group.js';
export {
  equalizeCrossLayer,
  valuesToEqualize,
  type Equalized,
  type EqualizedGroup,
  type Unevenness,
} from './cross-layer.js';
export { type EqualizeReport, type SmoothedGroup } from './result.js';
export { EQUALIZATIONS, type Equalization, type EqualizeRequest } from './request.js';
export { type GroupScales } from './rescale.js';
export { smooth, smoothingGroups, smoothingScales, type SmoothingGroup } from './smooth.js';
