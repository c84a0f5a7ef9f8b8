/** Validation that names every problem at once, with its path, its line and the nearest known key. */
import { type z } from 'zod';
import { FxqError, didYouMean } from '../core/index.js';

/** What zod says of one problem. */
type Issue = z.core.$ZodIssue;

/** Where a value stands: "fxq.config.yaml:12", "--samples". */
export type Locate = (path: readonly PropertyKey[]) => string | undefined;

/**
 * Parses a value with a schema.
 *
 * @throws FxqError E_CONFIG listing all problems, one a line
 */
export function validate<T extends z.ZodType>(schema: T, value: unknown, locate: Locate): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.flatMap((issue) => describe(issue, schema, locate));
  const count = problems.length === 1 ? 'the configuration is wrong' : `${problems.length} things are wrong`;
  throw new FxqError(
    'E_CONFIG',
    `${count}:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
    'docs/configuration.md lists every key; --print-config shows the merged values and where they come from.',
  );
}

function describe(issue: Issue, schema: z.ZodType, locate: Locate): string[] {
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, issue.path);
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      const near = didYouMean(key, known);
      return place(
        path,
        locate,
        `there is no such key${near === '' ? `; known are ${known.join(', ')}` : `. ${near}`}`,
      );
    });
  }
  if (issue.code === 'invalid_union') return [place(issue.path, locate, unionMessage(issue))];
  return [place(issue.path, locate, issue.message.replace(/^Invalid (input|option): /, ''))];
}

function place(path: readonly PropertyKey[], locate: Locate, message: string): string {
  const where = locate(path);
  return `${where === undefined ? '' : `${where}: `}${formatPath(path)}: ${message}`;
}

/** Of several allowed forms, the problem of the one that came closest: the deepest, then the one with fewest problems. */
function unionMessage(issue: Extract<Issue, { code: 'invalid_union' }>): string {
  const depth = (branch: readonly Issue[]): number => Math.max(...branch.map((i) => i.path.length));
  const [closest = []] = [...issue.errors].sort((a, b) => depth(b) - depth(a) || a.length - b.length);
  const allShallow = issue.errors.every((branch) => depth(branch) === 0);
  if (allShallow) {
    // What a parser says of a text is worth more than that the text is no mapping.
    const issues = issue.errors.flat();
    const told = issues.some((i) => i.code === 'custom')
      ? issues.filter((i) => i.code !== 'invalid_type')
      : issues;
    return [...new Set(told.map((i) => i.message.replace(/^Invalid (input|option): /, '')))].join(', or ');
  }
  return closest
    .map(
      (i) =>
        `${formatPath(i.path)}${i.path.length > 0 ? ': ' : ''}${i.message.replace(/^Invalid (input|option): /, '')}`,
    )
    .join('; ');
}

/** `report.gates[1].level` */
export function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i === 0 ? '' : '.'}${String(key)}`))
    .join('');
}

/** Keys that the schema knows at a path. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const [key, ...rest] = path;
  const inner = unwrap(schema);
  if (key === undefined) return 'shape' in inner ? Object.keys(inner.shape as object) : [];
  if ('shape' in inner) {
    const child = (inner.shape as Record<PropertyKey, z.ZodType>)[key];
    return child === undefined ? [] : keysAt(child, rest);
  }
  if ('element' in inner) return keysAt(inner.element as z.ZodType, rest);
  if ('options' in inner)
    return (inner.options as readonly z.ZodType[]).flatMap((option) => keysAt(option, path));
  return [];
}

function unwrap(schema: z.ZodType): z.ZodType {
  let inner = schema;
  while ('unwrap' in inner && typeof inner.unwrap === 'function' && !('element' in inner))
    inner = (inner.unwrap as () => z.ZodType)();
  return inner;
}
