/** Products of float32 matrices, in plain loops or in the runtime: what blocked factorizations are made of. */
import { required } from '../core/index.js';
import { openSession, type Session } from '../engine/index.js';
import { graph, model, node, value } from '../onnx/index.js';
import { tensor, toFloat32 } from '../tensor/index.js';

/** Row-major products; results are the caller's to change. */
export interface Matrices {
  /** A·B for A [m × k] and B [k × n]. */
  times(a: Float32Array, b: Float32Array, m: number, k: number, n: number): Promise<Float32Array>;
  /** A·Bᵀ for A [m × k] and B [n × k]. */
  timesTransposed(a: Float32Array, b: Float32Array, m: number, k: number, n: number): Promise<Float32Array>;
}

/** Below this many multiplications a call of the runtime costs more than it saves. */
const WORTH_A_CALL = 100_000;

/** Loops in JavaScript: no session to open, for small matrices. */
export const plainMatrices: Matrices = {
  times: (a, b, m, k, n) => {
    const out = new Float32Array(m * n);
    for (let i = 0; i < m; i++) {
      const row = out.subarray(i * n, (i + 1) * n);
      for (let l = 0; l < k; l++) {
        const factor = a[i * k + l] as number;
        if (factor === 0) continue;
        for (let j = 0, at = l * n; j < n; j++, at++)
          row[j] = (row[j] as number) + factor * (b[at] as number);
      }
    }
    return Promise.resolve(out);
  },
  timesTransposed: (a, b, m, k, n) => {
    const out = new Float32Array(m * n);
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) sum += (a[i * k + l] as number) * (b[j * k + l] as number);
        out[i * n + j] = sum;
      }
    return Promise.resolve(out);
  },
};

/** Sessions of the runtime for large products; small ones stay in JavaScript. */
export async function openMatrices(threads: number): Promise<Matrices & { release(): Promise<void> }> {
  const [plain, transposed] = await Promise.all([false, true].map((t) => openProduct(t, threads)));
  const run = async (
    session: Session | undefined,
    feeds: readonly [Float32Array, number, number, Float32Array, number, number],
  ): Promise<Float32Array> => {
    const [a, rowsA, colsA, b, rowsB, colsB] = feeds;
    const inputs = { a: tensor('float32', [rowsA, colsA], a), b: tensor('float32', [rowsB, colsB], b) };
    const results = await required(session, 'a session').run(inputs);
    return toFloat32(required(results.get('y'), 'a product'));
  };
  return {
    times: (a, b, m, k, n) =>
      m * k * n < WORTH_A_CALL ? plainMatrices.times(a, b, m, k, n) : run(plain, [a, m, k, b, k, n]),
    timesTransposed: (a, b, m, k, n) =>
      m * k * n < WORTH_A_CALL
        ? plainMatrices.timesTransposed(a, b, m, k, n)
        : run(transposed, [a, m, k, b, n, k]),
    release: async () => {
      await plain?.release();
      await transposed?.release();
    },
  };
}

function openProduct(transposed: boolean, threads: number): Promise<Session> {
  const right = transposed ? ['n', 'k'] : ['k', 'n'];
  return openSession(
    model(
      graph({
        inputs: [value('a', 'float32', ['m', 'k']), value('b', 'float32', right)],
        outputs: [value('y', 'float32', ['m', 'n'])],
        nodes: [node('Gemm', ['a', 'b'], ['y'], transposed ? { transB: 1 } : {})],
      }),
    ),
    { threads },
  );
}
