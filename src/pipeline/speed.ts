/** Whether a quantized model is faster than the float one on this machine, measured on one sample. */
import { type Context, type Note } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { openSession } from '../engine/index.js';
import { parseFormat } from '../formats/index.js';
import { feedInputs, type Model } from '../onnx/index.js';
import { measureLatency, type Timing } from '../report/index.js';

export interface Speed {
  readonly float: Timing;
  readonly quantized: Timing;
}

const RUNS = 9;

/** Interleaved runs of both models on the first calibration sample. */
export async function compareSpeed(
  float: Model,
  quantized: Model,
  spec: DataSpec,
  clock: () => number,
  ctx: Context,
): Promise<Speed | undefined> {
  const data = await openDataSet(spec, feedInputs(float.graph), { ...ctx, note: () => undefined });
  for await (const { inputs } of data.batches(1)) {
    const sessions = [
      await openSession(float, { threads: ctx.threads }),
      await openSession(quantized, { threads: ctx.threads }),
    ] as const;
    const speed = await measureLatency(...sessions, inputs, { runs: RUNS, clock }, ctx);
    await Promise.all(sessions.map((session) => session.release()));
    return speed;
  }
  return undefined;
}

/** A warning when the quantized model is clearly slower: even its fast runs take longer than the float model's slow ones. */
export function slowerNote({ float, quantized }: Speed, weightFormats: readonly string[]): Note | undefined {
  if (quantized.low <= float.high) return undefined;
  const packed = weightFormats.find(isPacked);
  const advice =
    packed === undefined
      ? '--preset weight-only keeps the smaller file without integer arithmetic'
      : `${packed} is unpacked in every run, while ${packed}-bytes has integer kernels, in a file as large as that of int8`;
  const times = `${quantized.median.toFixed(2)} ms against ${float.median.toFixed(2)} ms`;
  return {
    level: 'warn',
    code: 'slower-than-float',
    message:
      `the quantized model is slower than the float one on this machine (${times} for one sample): ` +
      `the kernel audit says which nodes stay float; ${advice}`,
  };
}

/** Whether several codes share a byte. */
function isPacked(name: string): boolean {
  const { family, bits, dtype } = parseFormat(name);
  return family === 'affine' && bits < 8 && !dtype.endsWith('int8');
}
