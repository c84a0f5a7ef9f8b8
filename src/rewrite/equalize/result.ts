/** What equalization reports. */
import { type AbsorbedBias } from './absorb.js';
import { type EqualizedGroup } from './cross-layer.js';

/** What was changed, and by how much. */
export interface EqualizeReport {
  readonly crossLayer: readonly EqualizedGroup[];
  readonly absorbed: readonly AbsorbedBias[];
  readonly smoothed: readonly SmoothedGroup[];
}

/** What happened to one activation. */
export interface SmoothedGroup {
  /** Values that were divided, as the products read them. */
  readonly inputs: readonly string[];
  readonly readers: readonly string[];
  /** Divided by a multiplication that was put in. */
  readonly inserted: boolean;
  /** Absent where no α tried was better than leaving the activation as it is. */
  readonly alpha?: number;
  /** Largest over smallest reach of a channel, before and after. */
  readonly ratio: { readonly before: number; readonly after: number };
  /** Mean relative error of the products on samples α was chosen on and on others; absent where α was given. */
  readonly fit?: { readonly before: number; readonly after: number };
  readonly heldOut?: { readonly before: number; readonly after: number };
}
