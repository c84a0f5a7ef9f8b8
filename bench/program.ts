/**
 * Tensor programs: what the runtime reaches inside a `Loop`, what a step of learned rounding costs, and the alternatives behind
 * the choices of src/program/gradients. Prints the tables of docs/program.md. Usage: node bench/program.js [rates|loop|conv|mask]…
 *
 * Times are the least of several runs: processor time for one thread, which other work on the machine disturbs little, and wall
 * time for two.
 */
import { createRng } from '../src/core/index.js';
import {
  adam,
  createProgram,
  gradients,
  loop,
  openProgram,
  roundingPenalty,
  softRounding,
  startOptimizer,
  updateParameters,
  type Program,
  type Tree,
  type Value,
} from '../src/program/index.js';
import { sizeOf, tensor, type Tensor } from '../src/tensor/index.js';

const rng = createRng(1);

function random(...dims: number[]): Tensor {
  return tensor(
    'float32',
    dims,
    Float32Array.from({ length: sizeOf(dims) }, () => rng.uniform() - 0.5),
  );
}

/** Least milliseconds of a run. */
async function least(threads: 1 | 2, run: () => Promise<unknown>, repeats = 8): Promise<number> {
  let best = Infinity;
  for (let i = 0; i < repeats; i++) {
    const [cpu, wall] = [process.cpuUsage(), performance.now()];
    await run();
    const used = process.cpuUsage(cpu);
    const time = threads === 1 ? (used.user + used.system) / 1e3 : performance.now() - wall;
    if (i > 0) best = Math.min(best, time);
  }
  return best;
}

async function timed<T extends Tree<Value>>(
  threads: 1 | 2,
  p: Program,
  outputs: T,
  feeds: Record<string, Tensor>,
): Promise<number> {
  const program = await openProgram(p, outputs, { threads });
  const time = await least(threads, () => program.run(feeds));
  await program.release();
  return time;
}

function row(...cells: (string | number)[]): void {
  console.log(`| ${cells.map((c) => (typeof c === 'number' ? c.toFixed(c < 10 ? 2 : 1) : c)).join(' | ')} |`);
}

function header(...cells: string[]): void {
  console.log();
  row(...cells);
  row(...cells.map(() => '---'));
}

/** Matrix products in JavaScript and inside a Loop; a step of AdaRound on a Gram matrix, two products of the same size. */
async function rates(): Promise<void> {
  header(
    'product',
    'JavaScript',
    'Loop, 1 thread',
    'Loop, 2 threads',
    'learned rounding, 1 thread',
    '2 threads',
  );
  for (const [n, k, steps] of [
    [576, 64, 200],
    [2304, 256, 10],
  ] as const) {
    const [gram, w] = [random(n, n), random(n, k)];
    const flops = 2 * n * n * k;
    const plain = createProgram();
    const product = loop(plain, plain.constant(w), steps, (b, x) => ({
      state: b.matmul(b.constant(gram), x),
    }));
    const learned = roundingProgram(gram, w, steps);
    const rate = async (threads: 1 | 2, p: Program, v: Value, products: number) =>
      `${((products * flops * steps) / (await timed(threads, p, v, {})) / 1e6).toFixed(0)}`;
    row(
      `${n}×${n} by ${n}×${k}`,
      (flops / javascriptProduct(gram, w, n, k) / 1e6).toFixed(1),
      await rate(1, plain, product.state, 1),
      await rate(2, plain, product.state, 1),
      await rate(1, learned.p, learned.v, 2),
      await rate(2, learned.p, learned.v, 2),
    );
  }
}

/** Milliseconds of one product as a loop over arrays. */
function javascriptProduct(a: Tensor, b: Tensor, n: number, k: number): number {
  const out = new Float32Array(n * k);
  const [x, y] = [a.data as Float32Array, b.data as Float32Array];
  const began = process.cpuUsage();
  for (let i = 0; i < n; i++)
    for (let l = 0; l < n; l++) {
      const factor = x[i * n + l] ?? 0;
      for (let j = 0; j < k; j++) out[i * k + j] = (out[i * k + j] ?? 0) + factor * (y[l * k + j] ?? 0);
    }
  return process.cpuUsage(began).user / 1e3;
}

/** AdaRound with Adam on tr(EᵀHE), E = h(V) − w. */
function roundingProgram(gram: Tensor, w: Tensor, steps: number): { p: Program; v: Value } {
  const p = createProgram();
  const start = p.constant(w);
  const optimizer = adam();
  const { state } = loop(
    p,
    { v: start, optimizer: startOptimizer(p, optimizer, start) },
    steps,
    (b, s, iteration) => {
      const h = softRounding(b, s.v);
      const error = b.sub(h, b.constant(w));
      const fit = b.reduceSum(b.mul(error, b.matmul(b.constant(gram), error)));
      const loss = b.add(fit, b.mul(roundingPenalty(b, h, b.scalar(3)), 0.01));
      const count = b.add(b.cast(iteration, 'float32'), 1);
      const next = updateParameters(b, optimizer, s.v, gradients(b, loss, s.v), s.optimizer, {
        rate: 1e-2,
        count,
      });
      return { state: { v: next.parameters, optimizer: next.state } };
    },
  );
  return { p, v: state.v };
}

/** A thousand small steps in one run, and one run a step. */
async function loops(): Promise<void> {
  header('1000 steps of x ← x + A·x, A 64×64', 'ms');
  const [a, x] = [random(64, 64), random(64, 8)];
  const step = (b: Program, v: Value) => b.add(v, b.mul(b.matmul(b.constant(a), v), 1e-3));
  const p = createProgram();
  row(
    'one Loop',
    await timed(1, p, loop(p, p.constant(x), 1000, (b, v) => ({ state: step(b, v) })).state, {}),
  );
  const single = createProgram();
  const program = await openProgram(single, step(single, single.input('x', 'float32', [64, 8])), {
    threads: 1,
  });
  const repeated = async (): Promise<void> => {
    let state = x;
    for (let i = 0; i < 1000; i++) state = await program.run({ x: state });
  };
  row('one run each', await least(1, repeated));
  await program.release();
}

/** A convolution of a square image with equal pads. */
interface Layer {
  readonly samples: number;
  readonly channels: number;
  readonly out: number;
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly group: number;
}

const LAYERS: readonly Layer[] = [
  { samples: 128, channels: 32, out: 32, size: 14, kernel: 3, stride: 1, group: 1 },
  { samples: 32, channels: 64, out: 64, size: 8, kernel: 3, stride: 1, group: 1 },
  { samples: 32, channels: 64, out: 128, size: 16, kernel: 3, stride: 2, group: 1 },
  { samples: 128, channels: 16, out: 32, size: 28, kernel: 1, stride: 1, group: 1 },
  { samples: 128, channels: 96, out: 96, size: 14, kernel: 3, stride: 1, group: 96 },
  { samples: 128, channels: 32, out: 32, size: 28, kernel: 3, stride: 2, group: 32 },
];

type Build = (b: Program, v: { x: Value; w: Value; g: Value }) => Value;

/** Ways to compute the gradients of a convolution, in milliseconds. */
async function convolutions(): Promise<void> {
  header(
    'layer',
    'forward',
    'by input: ConvTranspose',
    'flipped Conv',
    'by weight: Σ of products',
    'one product',
    'Conv of swapped axes',
  );
  for (const layer of LAYERS) {
    const { samples: n, channels, out, size, kernel: k, stride, group } = layer;
    const pad = (k - 1) >> 1;
    const outSize = Math.floor((size + 2 * pad - k) / stride) + 1;
    const window = { strides: [stride, stride], pads: [pad, pad, pad, pad], group };
    const left = (size + 2 * pad - k) % stride;
    const feeds = {
      x: random(n, channels, size, size),
      w: random(out, channels / group, k, k),
      g: random(n, out, outSize, outSize),
    };
    const time = (build: Build) => timedInLoop(feeds, build);
    row(
      `${n}×${channels}×${size}² → ${out}, ${k}×${k}, stride ${stride}${group > 1 ? ', depthwise' : ''}`,
      await time((b, { x, w }) => b.conv(x, w, window)),
      await time((b, { g, w }) => b.convTranspose(g, w, { ...window, outputPadding: [left, left] })),
      stride > 1
        ? ''
        : await time((b, { g, w }) =>
            b.conv(g, flipped(b, w, layer), { ...window, pads: window.pads.map((v) => k - 1 - v) }),
          ),
      await time((b, v) => weightGradient(b, v, layer, window, false)),
      await time((b, v) => weightGradient(b, v, layer, window, true)),
      await time((b, { x, g }) => {
        const swapped = b.transpose(b.reshape(x, [n, group, channels / group, size, size]), [2, 1, 0, 3, 4]);
        const image = b.reshape(swapped, [channels / group, group * n, size, size]);
        return b.conv(image, b.transpose(g, [1, 0, 2, 3]), {
          dilations: [stride, stride],
          pads: window.pads,
          group,
        });
      }),
    );
  }
}

function flipped(b: Program, w: Value, { channels, out, kernel: k, group }: Layer): Value {
  const split = b.transpose(b.reshape(w, [group, out / group, channels / group, k, k]), [0, 2, 1, 3, 4]);
  return b.slice(b.reshape(split, [channels, out / group, k, k]), {
    starts: [-1, -1],
    ends: [-99, -99],
    axes: [2, 3],
    steps: [-1, -1],
  });
}

/** Σₙ Gₙ·X̃ₙᵀ as products by sample that are summed, or as one product over samples and positions. */
function weightGradient(
  b: Program,
  { x, g }: { x: Value; g: Value },
  { samples, channels, out, kernel: k, group }: Layer,
  window: { strides: number[]; pads: number[] },
  joined: boolean,
): Value {
  const taps = k * k;
  const hot = tensor('float32', [channels * taps, 1, k, k]);
  for (let i = 0; i < channels * taps; i++) hot.data[i * taps + (i % taps)] = 1;
  const columns =
    k === 1 ? x : b.conv(x, b.constant(hot), { strides: window.strides, pads: window.pads, group: channels });
  const rows = (v: Value, depth: number): Value => {
    const split = b.reshape(v, [samples, group, depth, -1]);
    return joined ? b.reshape(b.transpose(split, [1, 2, 0, 3]), [group, depth, -1]) : split;
  };
  const product = b.matmul(rows(g, out / group), b.transposeLast(rows(columns, (channels / group) * taps)));
  return joined ? product : b.reduceSum(product, [0]);
}

/** Milliseconds of an expression inside a loop, one thread. */
async function timedInLoop(feeds: { x: Tensor; w: Tensor; g: Tensor }, build: Build): Promise<number> {
  const steps = 5;
  const p = createProgram();
  const v = p.inputs('v', feeds);
  const { state } = loop(p, p.scalar(0), steps, (b, sum) => {
    const some = b.slice(b.flat(build(b, v)), { starts: [0], ends: [4] });
    return { state: b.add(sum, b.reduceMax(some)) };
  });
  return (await timed(1, p, state, { 'v.x': feeds.x, 'v.w': feeds.w, 'v.g': feeds.g })) / steps;
}

/** Ways to let a gradient pass where a condition holds. */
async function masks(): Promise<void> {
  header('gradient of Relu, 2.4 million elements', 'ms');
  const x = random(128, 96, 14, 14);
  const feeds = { x, w: random(1), g: random(128, 96, 14, 14) };
  row('Where', await timedInLoop(feeds, (b, v) => b.maskedBy(v.g, b.greater(v.x, 0))));
  row(
    'product with the mask',
    await timedInLoop(feeds, (b, v) => b.mul(v.g, b.cast(b.greater(v.x, 0), 'float32'))),
  );
  row('(one product alone)', await timedInLoop(feeds, (b, v) => b.mul(v.g, v.x)));
}

const PARTS = { rates, loop: loops, conv: convolutions, mask: masks } as const;
const wanted = process.argv.slice(2);
for (const [name, part] of Object.entries(PARTS))
  if (wanted.length === 0 || wanted.includes(name)) await part();
