/** Errors a person can act on: one table from code to sentence, remedy and exit class. */

/** Exit status by kind of failure: a failed gate is 1, bad input or usage 2, fxq's own failure 3, interrupted 130. */
export const EXIT = { ok: 0, gate: 1, input: 2, internal: 3, interrupted: 130 } as const;

interface ErrorRow {
  readonly exit: number;
}

/**
 * Every error code and its exit class. The sentence and the remedy are given where the error is raised, because only
 * that place knows the file, node or tensor; the table decides what a pipeline sees.
 */
const TABLE = {
  E_USAGE: { exit: EXIT.input },
  E_CONFIG: { exit: EXIT.input },
  E_FILE: { exit: EXIT.input },
  E_OUTPUT: { exit: EXIT.input },
  E_MODEL: { exit: EXIT.input },
  E_GRAPH: { exit: EXIT.input },
  E_OPSET: { exit: EXIT.input },
  E_EXTERNAL_DATA: { exit: EXIT.input },
  E_DATA: { exit: EXIT.input },
  E_LABELS: { exit: EXIT.input },
  E_STATISTICS: { exit: EXIT.input },
  E_FORMAT: { exit: EXIT.input },
  E_UNSUPPORTED: { exit: EXIT.input },
  E_RUNTIME: { exit: EXIT.input },
  E_BUDGET: { exit: EXIT.gate },
  E_GATE: { exit: EXIT.gate },
  E_INTERNAL: { exit: EXIT.internal },
  E_INTERRUPTED: { exit: EXIT.interrupted },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof TABLE;

/**
 * An error with a code, what is wrong (naming file, node or tensor and the value seen) and what to do about it.
 *
 * @param code    row of the table; decides the exit status
 * @param message what is wrong, and where
 * @param fix     what the user can do; one imperative sentence, or several
 */
export class FxqError extends Error {
  readonly code: ErrorCode;
  readonly fix: readonly string[];

  constructor(
    code: ErrorCode,
    message: string,
    fix: string | readonly string[] = [],
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'FxqError';
    this.code = code;
    this.fix = typeof fix === 'string' ? [fix] : fix;
  }

  /** Process exit status for this error. */
  get exit(): number {
    return TABLE[this.code].exit;
  }
}

/** Fails with an internal error when a condition fxq itself guarantees does not hold. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition)
    throw new FxqError('E_INTERNAL', `internal: ${message}`, 'This is a bug in fxq; please report it.');
}

/** Returns a value that must be there, or fails with an internal error that says which one is missing. */
export function required<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) {
    throw new FxqError('E_INTERNAL', `internal: missing ${what}`, 'This is a bug in fxq; please report it.');
  }
  return value;
}
