/** Observing a model: batches go in, sketches of its values come out. */
import { createRunner, openSession, type Batch, type Carry } from '../engine/index.js';
import { type Model } from '../onnx/index.js';
import { sizeOf, toFloat32, type Tensor } from '../tensor/index.js';
import { addElements, addExtremes, emptySketch, type Side, type SketchBuilder } from './sketch.js';
import { type TensorStatistics } from './statistics.js';
import { type Tap } from './taps.js';

/** Takes batches until it is asked for what it saw. */
export interface Observer {
  /** Batches it should be given at once, so that it need not wait for the next one. */
  readonly ahead: number;
  observe(batch: Pick<Batch, 'count' | 'inputs'>): Promise<void>;
  /** One sketch a tap, in their order. */
  sketches(): Promise<readonly TensorStatistics[]>;
  close(): Promise<void>;
}

/**
 * Opens a session that observes.
 *
 * @param model with the outputs of its taps
 */
export async function openObserver(
  model: Model | Uint8Array,
  taps: readonly Tap[],
  carry: Carry,
  threads: number,
): Promise<Observer> {
  const session = await openSession(model, { threads });
  const runner = createRunner(session, carry);
  const sketches = taps.map((tap) => emptySketch(tap.value, tap.channels));
  const wanted = [...new Set(taps.flatMap((t) => [t.elements, t.max, t.min]).filter((o) => o !== undefined))];
  return {
    ahead: 1,
    async observe({ inputs, count }) {
      const outputs = await runner.run(inputs, wanted);
      taps.forEach((tap, i) => take(sketches[i] as SketchBuilder, tap, outputs, tap.batched ? count : 1));
    },
    sketches: () => Promise.resolve(sketches),
    close: () => session.release(),
  };
}

/** Adds what one run says about one value. */
function take(sketch: SketchBuilder, tap: Tap, outputs: ReadonlyMap<string, Tensor>, samples: number): void {
  const tensor = outputs.get(tap.elements);
  if (tensor === undefined || tensor.data.length === 0) return;
  const elements = toFloat32(tensor);
  addElements(sketch, elements);
  for (const side of ['min', 'max'] as const) {
    const reduced = outputs.get(tap[side] ?? '');
    const values = reduced ? toFloat32(reduced) : extremesOf(elements, tensor.dims, tap, samples, side);
    addExtremes(sketch, side, values, samples);
  }
}

/** Extremes of elements over the axes behind the channels, [samples, rows, channels]. */
function extremesOf(
  elements: Float32Array,
  dims: readonly number[],
  { channels }: Tap,
  samples: number,
  side: Side,
): Float32Array {
  const inner = channels === undefined ? elements.length / samples : sizeOf(dims.slice(channels.axis + 1));
  const extremes = new Float32Array(elements.length / inner);
  const sign = side === 'max' ? 1 : -1;
  for (let group = 0, i = 0; group < extremes.length; group++) {
    let best = -Infinity;
    for (const end = i + inner; i < end; i++) {
      const value = sign * (elements[i] as number);
      if (value > best) best = value;
    }
    extremes[group] = sign * best;
  }
  return extremes;
}
