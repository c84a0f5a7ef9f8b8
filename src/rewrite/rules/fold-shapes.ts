/**
 * Replaces integers computed from known dimensions with constants, and a Reshape's computed target with a constant one
 * when at most one of its dimensions is unknown: `Reshape(x, Concat(Shape(x)[0], 32, 64))` with `Reshape(x, [0, 32, 64])`.
 */
import { intAttribute, storeTensor, type Dim, type Node } from '../../onnx/index.js';
import { tensor } from '../../tensor/index.js';
import { graphPass } from '../pass.js';
import { type Scope } from '../scope.js';
import {
  constantShapeValue,
  evaluateShapeValue,
  isShapeType,
  isSize,
  type ShapeValue,
} from '../shape-values.js';

export const foldShapes = graphPass('fold-shapes', (scope, log) => {
  const known = new Map<string, ShapeValue>();
  const lookup = (name: string): ShapeValue | undefined => known.get(name) ?? constantShapeValue(name, scope);
  for (const node of scope.graph.nodes) {
    const output = node.outputs[0] ?? '';
    const value = evaluateShapeValue(node, scope, lookup);
    if (value !== undefined) known.set(output, value);
    if ((value !== undefined && storeKnown(node, value, scope)) || fixTarget(node, lookup, scope))
      log.changed();
  }
});

/** Puts a constant in the place of a node whose whole result is known. */
function storeKnown(node: Node, { isScalar, elements }: ShapeValue, { graph, type }: Scope): boolean {
  const output = node.outputs[0] ?? '';
  const dtype = type(output)?.dtype;
  const numbers = elements.filter((e): e is number => Number.isSafeInteger(e));
  if (!isShapeType(dtype) || numbers.length !== elements.length || graph.isGraphOutput(output)) return false;
  graph.remove(node);
  graph.initializers.set(output, storeTensor(tensor(dtype, isScalar ? [] : [numbers.length], numbers)));
  return true;
}

/** Writes the target of a Reshape with 0 for a dimension that is copied and −1 for the one that is left. */
function fixTarget(
  node: Node,
  lookup: (name: string) => ShapeValue | undefined,
  { graph, constant, type }: Scope,
): boolean {
  const [data = '', shape = ''] = node.inputs;
  if (node.opType !== 'Reshape' || node.domain !== '' || constant(shape) !== undefined) return false;
  const dims = type(data)?.dims;
  const mayCopy = intAttribute(node, 'allowzero', 0) === 0;
  const target = lookup(shape)?.elements.map((element, axis) => {
    if (!isSize(element)) return element;
    return mayCopy && isDim(dims?.[axis], element.size, data, axis) ? 0 : -1;
  });
  const numbers = target?.filter((e): e is number => typeof e === 'number');
  if (target === undefined || numbers?.length !== target.length) return false;
  if (numbers.filter((e) => e === -1).length > 1) return false;
  graph.setInput(
    node,
    1,
    graph.addInitializer(`${shape}_folded`, tensor('int64', [numbers.length], numbers)),
  );
  return true;
}

function isDim(dim: Dim | undefined, size: string, value: string, axis: number): boolean {
  return dim === size || (dim === null && size === `${value}#${axis}`);
}
