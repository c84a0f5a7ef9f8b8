/** What a pass is, and the walk that applies an edit to a graph and to the graphs inside it. */
import { type Context, type Note } from '../core/index.js';
import {
  GraphEditor,
  mapSubgraphs,
  namesOf,
  opsetOf,
  withGraph,
  type Graph,
  type Model,
} from '../onnx/index.js';
import { createScope, type Scope } from './scope.js';

export interface PassResult {
  readonly model: Model;
  /** How often the pass fired. */
  readonly changed: number;
  /** What the user may want to know: a match left alone and why, a choice made. */
  readonly notes: readonly Note[];
}

/**
 * A step from a model to one that computes the same. Values that keep their name keep their meaning, so that what is
 * known of them (types, statistics) stays true; inputs and outputs of the model keep their names.
 */
export interface Pass {
  readonly name: string;
  readonly run: (model: Model, ctx: Context) => PassResult | Promise<PassResult>;
}

/** Where an edit reports what it did. */
export interface PassLog {
  /** Counts a rewrite. */
  changed(count?: number): void;
  note(message: string, level?: Note['level']): void;
}

/**
 * A pass that edits every graph of the model, subgraphs before the graph that holds them.
 *
 * @param edit changes `scope.graph`
 */
export function graphPass(name: string, edit: (scope: Scope, log: PassLog) => void): Pass {
  return {
    name,
    run: (model) => {
      let changed = 0;
      const notes: Note[] = [];
      const log: PassLog = {
        changed: (count = 1) => void (changed += count),
        note: (message, level = 'info') => void notes.push({ level, code: `prepare/${name}`, message }),
      };
      return { model: editGraphs(model, (scope) => edit(scope, log)), changed, notes };
    },
  };
}

/** The model with `change` applied to every graph, subgraphs before the graph that holds them. */
export function mapGraphs(model: Model, change: (graph: Graph) => Graph): Model {
  const visit = (graph: Graph): Graph => {
    const nodes = graph.nodes.map((node) => mapSubgraphs(node, visit));
    return change(nodes.every((node, i) => node === graph.nodes[i]) ? graph : { ...graph, nodes });
  };
  return withGraph(model, visit(model.graph));
}

/** The model with every graph edited; the same model when no edit changed anything. */
export function editGraphs(model: Model, edit: (scope: Scope) => void): Model {
  // One set of names for the whole model: a new name inside a subgraph must not hide a value around it.
  const taken = namesOf(model.graph);
  const opset = opsetOf(model);
  const visit = (source: Graph, outer: Scope | undefined): Graph => {
    const scope = createScope(new GraphEditor(source, taken), opset, outer);
    for (const node of scope.graph.nodes) {
      const after = mapSubgraphs(node, (subgraph) => visit(subgraph, scope));
      if (after !== node) scope.graph.replace(node, after);
    }
    edit(scope);
    return scope.graph.finish();
  };
  const graph = visit(model.graph, undefined);
  return graph === model.graph ? model : withGraph(model, graph);
}
