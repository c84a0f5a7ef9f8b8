/** Products X·H through the runtime: a hundred times what a loop in JavaScript does on large layers. */
import { required } from '../core/index.js';
import { openSession } from '../engine/index.js';
import { graph, model, node, value } from '../onnx/index.js';
import { tensor, toFloat32 } from '../tensor/index.js';
import { multiply } from './linear-algebra.js';
import { type Product } from './quadratic.js';

export interface Products {
  /** X·H in float32 for large layers, in float64 for small ones. */
  readonly product: Product;
  release(): Promise<void>;
}

/** Below this many multiplications a call of the runtime costs more than it saves. */
const WORTH_A_CALL = 1e6;

/** Opens a session for products. */
export async function openProducts(threads: number): Promise<Products> {
  const session = await openSession(
    model(
      graph({
        inputs: [value('x', 'float32', ['m', 'n']), value('h', 'float32', ['n', 'n'])],
        outputs: [value('y', 'float32', ['m', 'n'])],
        nodes: [node('MatMul', ['x', 'h'], ['y'])],
      }),
    ),
    { threads },
  );
  // The same H meets several X.
  const narrow = new WeakMap<Float64Array, Float32Array>();
  const narrowed = (h: Float64Array): Float32Array => {
    const known = narrow.get(h) ?? new Float32Array(h);
    narrow.set(h, known);
    return known;
  };
  return {
    product: async (x, h, rows, cols) => {
      if (rows * cols * cols < WORTH_A_CALL) return multiply(x, h, rows, cols);
      const feeds = {
        x: tensor('float32', [rows, cols], new Float32Array(x)),
        h: tensor('float32', [cols, cols], narrowed(h)),
      };
      return new Float64Array(toFloat32(required((await session.run(feeds)).get('y'), 'a product')));
    },
    release: () => session.release(),
  };
}
