/** Block formats: a short run of elements shares one scale. OCP Microscaling (MX), NVFP4, block floating point. */
import { affineInteger } from './affine.js';
import { float32Scale, floorLog2, powerOfTwoScale } from './binary-exponent.js';
import { type FormatFamily, type NumberFormat } from './format.js';
import { MINIFLOATS, maxExponent, minifloat, type MinifloatName } from './minifloat.js';

/** E8M0 as an ONNX element type, and Cast from it, exist since this opset; blocked scales since 21. */
const E8M0_OPSET = 24;
const BLOCK_OPSET = 21;

const MX_BLOCK = 32;

/**
 * Microscaling floats: 32 elements share X = 2^(⌊log2 max⌋ − emax). The floor is the standard's: the largest elements
 * of a block may saturate.
 */
export function microscaling(name: string, element: MinifloatName): NumberFormat {
  return {
    ...minifloat(element),
    name,
    family: 'microscaling',
    scale: 'e8m0',
    block: MX_BLOCK,
    opset: E8M0_OPSET,
    onnx: storedForm(element),
    scaleFor: (absmax) => (absmax === 0 ? 1 : powerOfTwoScale(floorLog2(absmax) - maxExponent(element))),
  };
}

/** Blocks run along one axis of a stored tensor; activations would need their scales computed at run time. */
function storedForm(element: MinifloatName): 'dequantize' | 'table' {
  return minifloat(element).onnx === 'table' ? 'table' : 'dequantize';
}

/**
 * Integers of `bits` bits with a shared power-of-two exponent, symmetric (the lowest code is unused, as in the MX
 * reference). The scale is that of the last bit: 2^(⌊log2 max⌋ − bits + 2).
 */
export function sharedExponentIntegers(
  name: string,
  family: string,
  bits: number,
  block: number,
): NumberFormat {
  return {
    ...affineInteger(bits, true, true),
    name,
    family,
    affine: false,
    scale: 'e8m0',
    block,
    opset: E8M0_OPSET,
    onnx: 'dequantize',
    scaleFor: (absmax) => (absmax === 0 ? 1 : powerOfTwoScale(floorLog2(absmax) - bits + 2)),
  };
}

const E4M3 = minifloat('e4m3');

/** The float32 that multiplies every E4M3 block scale of an NVFP4 tensor: the largest block's scale becomes 448. */
export function nvfp4TensorScale(tensorAbsmax: number): number {
  return float32Scale(tensorAbsmax / (MINIFLOATS.e2m1.max * MINIFLOATS.e4m3.max));
}

/** NVFP4: E2M1 elements, one E4M3 scale for 16 of them, one float32 scale for the tensor. */
export function nvfp4(): NumberFormat {
  return {
    ...minifloat('e2m1'),
    name: 'nvfp4',
    family: 'microscaling',
    scale: 'e4m3',
    block: 16,
    opset: BLOCK_OPSET,
    scaleFor: (absmax, tensorAbsmax = absmax) => {
      const unit = nvfp4TensorScale(tensorAbsmax);
      const steps = E4M3.decode(E4M3.encode(absmax / MINIFLOATS.e2m1.max / unit));
      return float32Scale(Math.max(steps, SMALLEST_E4M3) * unit);
    },
  };
}

/** A block scale of zero would lose the block's place in the grid; all-zero blocks need none. */
const SMALLEST_E4M3 = 2 ** -9;

const MX = {
  mxfp8e4m3: () => microscaling('mxfp8e4m3', 'e4m3'),
  mxfp8e5m2: () => microscaling('mxfp8e5m2', 'e5m2'),
  mxfp6e2m3: () => microscaling('mxfp6e2m3', 'e2m3'),
  mxfp6e3m2: () => microscaling('mxfp6e3m2', 'e3m2'),
  mxfp4: () => microscaling('mxfp4', 'e2m1'),
  mxint8: () => sharedExponentIntegers('mxint8', 'microscaling', 8, MX_BLOCK),
  nvfp4,
} as const satisfies Record<string, () => NumberFormat>;

/** Shorter names for the usual choice of element. */
const ALIASES: Readonly<Record<string, keyof typeof MX>> = { mxfp8: 'mxfp8e4m3', mxfp6: 'mxfp6e2m3' };

export const MICROSCALING: FormatFamily = {
  syntax: `${Object.keys(MX).join(', ')} (mxfp8 = mxfp8e4m3, mxfp6 = mxfp6e2m3)`,
  members: Object.keys(MX),
  parse(name) {
    const known = ALIASES[name] ?? name;
    return Object.hasOwn(MX, known) ? MX[known as keyof typeof MX]() : undefined;
  },
};

/** Elements of a block and bits of its exponent in MSFP (Darvish Rouhani et al., NeurIPS 2020). */
const BFP_BLOCK = 16;
const BFP_EXPONENT_BITS = 8;

/** Block floating point as in MSFP: `bfpN` has an 8-bit exponent for 16 elements of N − 8 bits each. */
export const BLOCK_FLOAT: FormatFamily = {
  syntax: 'bfpN (N = 11…16: an 8-bit exponent shared by 16 elements of N − 8 bits)',
  members: ['bfp12', 'bfp16'],
  parse(name) {
    const total = Number(/^bfp(\d+)$/.exec(name)?.[1] ?? NaN);
    const bits = total - BFP_EXPONENT_BITS;
    return bits >= 3 && bits <= 8 ? sharedExponentIntegers(name, 'block-float', bits, BFP_BLOCK) : undefined;
  },
};
