/** Reference kernels of Softmax and LayerNormalization in integers. */
import { parseFormat } from '../../formats/index.js';
import { type Codes } from './codes.js';
import { type Accumulators, type Operands } from './operands.js';
import { type LayerNorm, type Softmax } from './program.js';
import { resultWord } from './rescale.js';

export function softmax(op: Softmax, operands: Operands): Codes {
  const { dims, data } = operands.codes(op.x);
  const { zeroPoint, format } = operands.value(op.output);
  const { word } = resultWord(parseFormat(format));
  const length = dims[op.axis] ?? 1;
  let inner = 1;
  for (let axis = op.axis + 1; axis < dims.length; axis++) inner *= dims[axis] ?? 1;
  const last = op.exponentials.length - 1;
  const codes = new Int32Array(data.length);
  for (let row = 0; row < data.length / length; row++) {
    const from = Math.floor(row / inner) * length * inner + (row % inner);
    let top = -Infinity;
    for (let i = 0; i < length; i++) top = Math.max(top, data[from + i * inner] as number);
    const exponential = (i: number): number =>
      op.exponentials[Math.min(top - (data[from + i * inner] as number), last)] as number;
    let total = 0;
    for (let i = 0; i < length; i++) total += exponential(i);
    const divisor = BigInt(total) << BigInt(op.shift);
    for (let i = 0; i < length; i++) {
      const share = (BigInt(exponential(i)) * BigInt(op.multiplier) + divisor / 2n) / divisor;
      codes[from + i * inner] = Math.min(Number(share) + zeroPoint, word.high);
    }
  }
  return { dims, data: codes };
}

export function layerNorm(op: LayerNorm, operands: Operands): Accumulators {
  const { dims, data } = operands.integers(op.x);
  const gamma = operands.integers(op.gamma).data;
  const beta = operands.integers(op.beta).data;
  const result = new Float64Array(data.length);
  for (let from = 0; from < data.length; from += op.size) {
    let total = 0;
    for (let i = 0; i < op.size; i++) total += data[from + i] as number;
    let squares = op.epsilon;
    const centred = Array.from({ length: op.size }, (_, i) =>
      BigInt(op.size * (data[from + i] as number) - total),
    );
    for (const e of centred) squares += e * e;
    const root = squareRoot(squares << BigInt(2 * op.rootShift));
    centred.forEach((e, i) => {
      const t = Number(floorDivide(e * op.unit + root / 2n, root));
      result[from + i] = t * (gamma[i] as number) + (beta[i] as number);
    });
  }
  return { dims, data: result };
}

/** ⌊√x⌋ by Newton's method from above. */
export function squareRoot(x: bigint): bigint {
  if (x < 2n) return x;
  let root = 1n << BigInt(Math.ceil(x.toString(2).length / 2));
  for (;;) {
    const next = (root + x / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b < 0n ? quotient - 1n : quotient;
}
