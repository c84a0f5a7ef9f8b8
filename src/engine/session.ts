/** Sessions of onnxruntime: the only file that loads it. Execution provider and threads are settings of this file. */
import type * as OrtModule from 'onnxruntime-node';
import { FxqError, required } from '../core/index.js';
import { type Dim, type Model, type TensorType } from '../onnx/index.js';
import { type DType, type Tensor, type TypedArray } from '../tensor/index.js';
import { runtimeModel, type RuntimeModel } from './runtime-model.js';

type Ort = typeof OrtModule;

let loaded: Promise<Ort> | undefined;

/** onnxruntime-node, loaded on first use: it costs a noticeable part of a second that `--help` should not pay. */
function loadOrt(): Promise<Ort> {
  loaded ??= import('onnxruntime-node').then((module) =>
    'default' in module ? (module.default as Ort) : module,
  );
  return loaded;
}

/** Version of the runtime, for manifests. */
export async function runtimeVersion(): Promise<string> {
  const { env } = await loadOrt();
  return required(env.versions.node ?? env.versions.common, 'the version of onnxruntime');
}

export interface SessionOptions {
  /** Threads inside one operator; 0 lets the runtime choose. */
  readonly threads?: number;
  /** Graph optimization of the runtime. `none` runs the graph as written. */
  readonly optimization?: 'none' | 'basic' | 'extended' | 'all';
  /** Where to write the optimized graph (see kernel audit). */
  readonly optimizedModelPath?: string;
  /** onnxruntime session configuration entries, for example `session.disable_prepacking`. */
  readonly config?: Readonly<Record<string, string>>;
  /** Writes one JSON trace of kernel times to a file with this prefix. */
  readonly profilePrefix?: string;
}

export interface SessionValue extends TensorType {
  readonly name: string;
}

/** A model ready to run. */
export interface Session {
  readonly inputs: readonly SessionValue[];
  readonly outputs: readonly SessionValue[];
  /** Runs the model; only the outputs named in `wanted` are fetched (all by default). */
  run(feeds: Feeds, wanted?: readonly string[]): Promise<Map<string, Tensor>>;
  /** Ends profiling and frees the native memory; the session cannot be used any more. */
  release(): Promise<void>;
}

export type Feeds = ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>;

const LEVELS = { none: 'disabled', basic: 'basic', extended: 'extended', all: 'all' } as const;

/**
 * Opens a session.
 *
 * @param source a model in memory, as it is or in the form the runtime takes, its bytes, or the path of a model file
 * @throws FxqError E_RUNTIME with onnxruntime's own reason when it refuses the model
 */
export async function openSession(
  source: Model | RuntimeModel | Uint8Array | string,
  options: SessionOptions = {},
): Promise<Session> {
  const ort = await loadOrt();
  const inMemory = typeof source !== 'string' && !(source instanceof Uint8Array);
  const { bytes, config, externalData } = inMemory ? inRuntimeForm(source) : { bytes: source };
  const settings: OrtModule.InferenceSession.SessionOptions = {
    executionProviders: ['cpu'],
    graphOptimizationLevel: LEVELS[options.optimization ?? 'all'],
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    extra: nest({ ...options.config, ...config }),
    ...(externalData !== undefined && { externalData }),
    ...(options.threads ? { intraOpNumThreads: options.threads } : {}),
    ...(options.optimizedModelPath ? { optimizedModelFilePath: options.optimizedModelPath } : {}),
    ...(options.profilePrefix ? { enableProfiling: true, profileFilePrefix: options.profilePrefix } : {}),
  };
  try {
    // Two overloads, of which TypeScript picks neither for a union.
    const session = await (typeof bytes === 'string'
      ? ort.InferenceSession.create(bytes, settings)
      : ort.InferenceSession.create(bytes, settings));
    return wrap(ort, session, options.profilePrefix !== undefined);
  } catch (error) {
    if (error instanceof FxqError) throw error;
    const path = typeof source === 'string' ? `${source}: ` : '';
    throw new FxqError('E_RUNTIME', `${path}onnxruntime cannot load the model: ${firstLine(error)}`, [], {
      cause: error,
    });
  }
}

function inRuntimeForm(source: Model | RuntimeModel): RuntimeModel {
  return 'graph' in source ? runtimeModel(source) : source;
}

/** `{'session.x': '1'}` in the nested form that onnxruntime-node flattens again. */
function nest(config: Readonly<Record<string, string>>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(config)) {
    const parts = key.split('.');
    let at = out;
    for (const part of parts.slice(0, -1)) at = (at[part] ??= {}) as Record<string, unknown>;
    at[parts[parts.length - 1] ?? key] = value;
  }
  return out;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
}

function wrap(ort: Ort, session: OrtModule.InferenceSession, profiling: boolean): Session {
  return {
    inputs: session.inputMetadata.map(describe),
    outputs: session.outputMetadata.map(describe),
    run: async (feeds, wanted) => {
      const entries =
        feeds instanceof Map ? [...(feeds as ReadonlyMap<string, Tensor>)] : Object.entries(feeds);
      const inputs = Object.fromEntries(entries.map(([name, t]) => [name, toOrt(ort, t as Tensor)]));
      let results: OrtModule.InferenceSession.OnnxValueMapType;
      try {
        results = await (wanted === undefined ? session.run(inputs) : session.run(inputs, [...wanted]));
      } catch (error) {
        throw new FxqError('E_RUNTIME', `onnxruntime cannot run the model: ${firstLine(error)}`, [], {
          cause: error,
        });
      }
      return new Map(Object.entries(results).map(([name, t]) => [name, fromOrt(t as OrtModule.Tensor)]));
    },
    release: async () => {
      if (profiling) session.endProfiling();
      await session.release();
    },
  };
}

function describe(value: OrtModule.InferenceSession.ValueMetadata): SessionValue {
  if (!value.isTensor) return { name: value.name, dtype: undefined, dims: undefined };
  return {
    name: value.name,
    dtype: value.type as DType | 'string',
    dims: value.shape.map((d): Dim => (typeof d === 'number' ? (d < 0 ? null : d) : d === '' ? null : d)),
  };
}

function toOrt(ort: Ort, t: Tensor): OrtModule.Tensor {
  return new ort.Tensor(t.dtype as 'float32', t.data as Float32Array, t.dims);
}

function fromOrt(t: OrtModule.Tensor): Tensor {
  return { dtype: t.type as DType, dims: t.dims, data: t.data as unknown as TypedArray };
}
