/** Fusions: a group of nodes that spells out an operator becomes that operator. */
import { FxqError } from '../core/index.js';
import { node as createNode, opsetOf, type AttributeInput, type Model, type Node } from '../onnx/index.js';
import { type Tensor } from '../tensor/index.js';
import { convertOpset } from './opset/convert.js';
import { editGraphs, type Pass, type PassResult } from './pass.js';
import { leak, outputOf } from './pattern.js';
import { refuse, rule } from './rule.js';
import { type Scope } from './scope.js';

/** A group of nodes and the operator's inputs; constants that are not in the graph yet come as tensors. */
export interface Spelling {
  readonly nodes: readonly Node[];
  /** The node whose output is the result. */
  readonly last: Node;
  readonly inputs: readonly (string | Tensor)[];
  readonly attributes?: Readonly<Record<string, AttributeInput>>;
}

export interface Fusion {
  readonly name: string;
  readonly operator: string;
  /** First opset that has the operator. */
  readonly since: number;
  /** The group around a node, or undefined. */
  readonly pattern: (node: Node, scope: Scope) => Spelling | undefined;
}

/**
 * The pass that applies a fusion. The new node takes the place and the name of the group's last one.
 *
 * @param highest opset up to which a model is raised to have the operator; by default it is not raised
 */
export function fuse(fusion: Fusion, highest = 0): Pass {
  const { name, operator, since, pattern } = fusion;
  const { run } = rule<Spelling, Spelling>({
    name,
    pattern,
    check: (group, scope) => {
      if (scope.opset < since)
        return refuse(`${operator} needs opset ${since}, the model has ${scope.opset}`);
      const seen = leak(group.nodes, group.last, scope);
      return seen === undefined ? group : refuse(seen);
    },
    rewrite: ({ nodes, last, inputs, attributes }, { graph }) => {
      const names = inputs.map((input) =>
        typeof input === 'string' ? input : graph.addInitializer(`${last.name}_${operator}`, input),
      );
      for (const node of nodes) if (node !== last) graph.remove(node);
      graph.replace(
        last,
        createNode(operator, names, [outputOf(last)], { ...attributes }, { name: last.name }),
      );
    },
  });
  return {
    name,
    run: async (model, ctx) => {
      if (opsetOf(model) >= since || since > highest || !isSpelled(fusion, model)) return run(model, ctx);
      const raised = await raise(model, fusion);
      const fused = await run(raised.model, ctx);
      return { ...fused, notes: [...raised.notes, ...fused.notes] };
    },
  };
}

/** Whether a model spells the operator out somewhere, in a group that nothing else reads from. */
function isSpelled({ pattern }: Fusion, model: Model): boolean {
  let found = false;
  editGraphs(model, (scope) => {
    found ||= scope.graph.nodes.some((node) => {
      const group = pattern(node, scope);
      return group !== undefined && leak(group.nodes, group.last, scope) === undefined;
    });
  });
  return found;
}

/** The model at the opset that has the operator; as it is, with a note, where some node cannot be converted. */
async function raise(
  model: Model,
  { name, operator, since }: Fusion,
): Promise<Pick<PassResult, 'model' | 'notes'>> {
  try {
    return await convertOpset(model, since);
  } catch (error) {
    if (!(error instanceof FxqError) || error.code !== 'E_OPSET') throw error;
    const message = `${operator} stays spelled out: ${error.message}`;
    return { model, notes: [{ level: 'info', code: `prepare/${name}`, message }] };
  }
}
