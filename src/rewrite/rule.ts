/** Rules: a pattern, a check that says why a match must stay, and the rewrite. */
import { describeNode, type Node } from '../onnx/index.js';
import { graphPass, type Pass } from './pass.js';
import { type Scope } from './scope.js';

/** Why a match is left alone. */
export interface Refusal {
  readonly refused: string;
}

export function refuse(reason: string): Refusal {
  return { refused: reason };
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'refused' in value;
}

/**
 * A local rewrite that starts at one node.
 *
 * @typeParam Match the nodes of the pattern
 * @typeParam Ready what the rewrite needs, computed by the check
 */
export interface Rule<Match extends object, Ready> {
  readonly name: string;
  /** The pattern at this node, or undefined. */
  readonly pattern: (node: Node, scope: Scope) => Match | undefined;
  /** Whether the match may be rewritten. */
  readonly check: (match: Match, scope: Scope) => Ready | Refusal;
  readonly rewrite: (ready: Ready, scope: Scope) => void;
}

/** The pass that applies a rule everywhere, until it matches nowhere any more. */
export function rule<Match extends object, Ready>(definition: Rule<Match, Ready>): Pass {
  const { name, pattern, check, rewrite } = definition;
  return graphPass(name, (scope, log) => {
    const refused = new Map<string, string>();
    let again = true;
    while (again) {
      again = false;
      refused.clear();
      for (const node of scope.graph.nodes) {
        if (!scope.graph.has(node)) continue;
        const match = pattern(node, scope);
        if (match === undefined) continue;
        const ready = check(match, scope);
        if (isRefusal(ready)) {
          refused.set(describeNode(node), ready.refused);
          continue;
        }
        rewrite(ready, scope);
        log.changed();
        again = true;
      }
    }
    for (const [node, reason] of refused) log.note(`${node} stays: ${reason}`);
  });
}
