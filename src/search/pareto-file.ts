/** The Pareto file: points of a front with their assignments, as data that `quantize --from-pareto` takes up again. */
import { FxqError, canonicalJson, readInput, writeOutput } from '../core/index.js';
import { type NodeRule } from '../plan/index.js';
import { type ContestResult } from './contenders.js';
import { candidateId, type LayerCandidate } from './layers.js';
import { assignmentOf, assignmentRules, type SearchSpace } from './space.js';
import { describeAlternative, type Allocation, type Explanation } from './allocation/index.js';
import { type ComparedSensitivity } from './sensitivity/index.js';

/** One point of a front. */
export interface ParetoPoint {
  /** `p0`, `p1` … from the cheapest to the best. */
  readonly name: string;
  /** Loss by the additive model. */
  readonly predicted: number;
  /** Loss of a real run, where there was one. */
  readonly measured?: number;
  /** Loss of the model as quantize writes it, fitted to one part of the samples and run on the other. */
  readonly written?: number;
  readonly contest?: ContestResult;
  /** What a task metric lost in the written model. */
  readonly drop?: {
    readonly metric: string;
    readonly value: number;
    readonly error: number;
    readonly samples: number;
  };
  readonly costs: Readonly<Record<string, number>>;
  /** Candidate of every layer, by node name: an index into `candidates`. */
  readonly choice: Readonly<Record<string, number>>;
  /** Why every group got its candidate: the nearest cheaper and the nearest better one. */
  readonly explanations?: readonly Explanation[];
}

export interface ParetoFile {
  readonly version: 1;
  /** Content hashes of the model and of the data the losses come from. */
  readonly model: string;
  readonly data: string;
  /** What the loss is: `kl`, `top1 drop` … */
  readonly loss: string;
  readonly sensitivity: string;
  readonly hardware: string;
  /** Format of the layers' results, which candidates do not decide. */
  readonly results: string;
  /** Totals when everything is float, and when everything has 8 bits. */
  readonly references: Readonly<Record<'float' | 'int8', Readonly<Record<string, number>>>>;
  readonly candidates: readonly LayerCandidate[];
  /** What every candidate of every group loses and costs, by name of the group and of the candidate. */
  readonly layers: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, number>>>>>>;
  readonly points: readonly ParetoPoint[];
  /** How the sensitivity methods compare on this model; only where losses were measured. */
  readonly sensitivities?: readonly ComparedSensitivity[];
}

/** An allocation as a point. */
export function paretoPoint(
  name: string,
  space: SearchSpace,
  candidates: readonly LayerCandidate[],
  { choice, totals, measured, written }: Allocation & Pick<ParetoPoint, 'measured' | 'written'>,
): ParetoPoint {
  const index = new Map(candidates.map((c, i) => [candidateId(c), i]));
  const { loss = 0, ...costs } = totals;
  const chosen = [...assignmentOf(space, choice)].map(
    ([node, c]) => [node, index.get(candidateId(c)) ?? -1] as const,
  );
  return {
    name,
    predicted: loss,
    ...(measured === undefined ? {} : { measured }),
    ...(written === undefined ? {} : { written }),
    costs,
    choice: Object.fromEntries(chosen),
  };
}

/** All candidates of a space, each once. */
export function candidatesOf({ groups }: Pick<SearchSpace, 'groups'>): LayerCandidate[] {
  return [...new Map(groups.flatMap((g) => g.candidates.map((c) => [candidateId(c), c] as const))).values()];
}

/** Writes a Pareto file: the same bytes for the same search. */
export function writePareto(path: string, file: ParetoFile): void {
  writeOutput(path, [`${canonicalJson(file, 2)}\n`]);
}

/** Reads a Pareto file. @throws FxqError E_FILE, E_DATA */
export function readPareto(path: string): ParetoFile {
  const fail = (why: string): never => {
    throw new FxqError(
      'E_DATA',
      `${path} is not a Pareto file: ${why}`,
      'Give the file that fxq search wrote.',
    );
  };
  let file: Partial<ParetoFile>;
  try {
    file = JSON.parse(readInput(path, 'the Pareto file').toString('utf8')) as Partial<ParetoFile>;
  } catch (error) {
    if (error instanceof FxqError) throw error;
    return fail((error as Error).message);
  }
  if (file.version !== 1) return fail(`version ${String(file.version)} instead of 1`);
  if (!Array.isArray(file.points) || !Array.isArray(file.candidates)) return fail('it has no points');
  return file as ParetoFile;
}

/**
 * The rules of one point for the planner.
 *
 * @param name a point of the file
 * @throws FxqError E_USAGE for a point the file does not have
 */
export function pointRules(file: ParetoFile, name: string): NodeRule[] {
  const point = file.points.find((p) => p.name === name);
  if (point === undefined) {
    throw new FxqError('E_USAGE', `the Pareto file has no point '${name}'`, [
      `Points: ${file.points.map((p) => p.name).join(', ')}.`,
    ]);
  }
  const assignment = new Map(
    Object.entries(point.choice).map(([node, index]) => {
      const candidate = file.candidates[index];
      if (candidate === undefined)
        throw new FxqError('E_DATA', `point ${name} has no candidate for '${node}'`, 'Search again.');
      return [node, candidate] as const;
    }),
  );
  return assignmentRules(assignment, file.results, reasons(point));
}

/** What the plan says about each layer of an explained point. */
function reasons({ name, explanations = [] }: ParetoPoint): Map<string, string> {
  return new Map(
    explanations.flatMap(({ layers, chosen, cheaper, better }) => {
      const others = [cheaper, better].flatMap((a) => (a === undefined ? [] : [describeAlternative(a)]));
      return layers.map(
        (node) => [node, `search, point ${name}: ${[chosen, ...others].join(', not ')}`] as const,
      );
    }),
  );
}
