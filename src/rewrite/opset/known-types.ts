/** What is known of the values of a model that is about to be converted. */
import { createContext, FxqError } from '../../core/index.js';
import { inferValueTypes } from '../../engine/index.js';
import { type Model, type TensorType } from '../../onnx/index.js';
import { constantsToInitializers } from '../rules/constants-to-initializers.js';
import { foldConstants } from '../rules/fold-constants.js';
import { foldShapes } from '../rules/fold-shapes.js';
import { inferTypes } from '../rules/infer-types.js';
import { uniqueNames } from '../rules/unique-names.js';
import { runPasses } from '../run-passes.js';

export interface KnownTypes {
  /** The model with names that are unique across subgraphs. */
  readonly model: Model;
  readonly types: ReadonlyMap<string, TensorType>;
  /** Why there are none: the runtime cannot load the model. What is declared must do then. */
  readonly error?: FxqError;
}

/** Passes after which more is known of shapes: computed ones are folded. Values keep their names. */
const SHAPE_PASSES = [constantsToInitializers, inferTypes, foldShapes, foldConstants];

/** Types of values by name, as the runtime infers them once computed shapes are folded. */
export async function knownTypes(model: Model): Promise<KnownTypes> {
  const ctx = createContext();
  const named = (await runPasses(model, [uniqueNames], ctx)).model;
  try {
    const folded = await runPasses(named, SHAPE_PASSES, ctx);
    return { model: named, types: await inferValueTypes(folded.model) };
  } catch (error) {
    if (error instanceof FxqError && error.code === 'E_RUNTIME')
      return { model: named, types: new Map(), error };
    throw error;
  }
}
