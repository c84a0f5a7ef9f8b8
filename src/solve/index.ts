/** solve: codes for weights — layer problems, rounding methods, and the transforms before and after them. */
export { roundToNearest } from './round-to-nearest.js';
export { findSaturation, scalesWithoutSaturation, type SaturationRisk } from './saturation.js';
