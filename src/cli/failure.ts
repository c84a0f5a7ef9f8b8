/** What went wrong, as the process tells it: one screen for people, one object for `--json`, and an exit status. */
import { EXIT, FxqError, didYouMean } from '../core/index.js';

export interface Failure {
  readonly exit: number;
  /** Stable code, for scripts. */
  readonly code: string;
  readonly name: string;
  readonly message: string;
  /** What to do about it. */
  readonly suggestions: readonly string[];
}

/** Names that a mistyped one may have meant. */
export interface KnownNames {
  /** Without the dashes. */
  readonly flags: readonly string[];
  readonly commands: readonly string[];
}

/** The parts of oclif's errors that are used here. */
interface OclifError extends Error {
  readonly oclif?: { readonly exit?: number | false };
  readonly flags?: readonly string[];
  readonly parse?: unknown;
}

/** Turns anything thrown into a failure. What is neither fxq's nor oclif's error is a bug of fxq. */
export function toFailure(error: unknown, known: KnownNames): Failure {
  if (error instanceof FxqError) {
    const { exit, code, name, message, fix } = error;
    return { exit, code, name, message, suggestions: fix.filter((text) => text !== '') };
  }
  const thrown: OclifError = error instanceof Error ? error : new Error(String(error));
  if (thrown.oclif !== undefined) return usageFailure(thrown, known);
  return {
    exit: EXIT.internal,
    code: 'E_INTERNAL',
    name: thrown.name,
    message: `internal error: ${thrown.message}`,
    suggestions: [
      'This is a bug in fxq; please report it with the output of the same command under DEBUG=fxq.',
    ],
  };
}

function usageFailure(error: OclifError, known: KnownNames): Failure {
  const said = plain(error.message)
    .replace(/\n?See more help with --help$/, '')
    .replace(/^Parsing (--\S+)\s+Expected /, '$1: expected ')
    .replace(/^The following errors? occurred:\s+/, '')
    .trim();
  // oclif joins the words after a command it does not know by colons.
  const command = /^command ([^\s:]+)\S* not found$/.exec(said)?.[1];
  const message = command === undefined ? said : `there is no command '${command}'`;
  const near =
    command !== undefined
      ? didYouMean(command, known.commands)
      : (error.flags ?? [])
          .map((flag) => didYouMean(flag.replace(/^-+/, ''), known.flags).replaceAll(/'([^']+)'/g, "'--$1'"))
          .filter((text) => text !== '')
          .join(' ');
  const help = command === undefined ? 'See the flags with --help.' : 'See the commands with fxq --help.';
  return {
    exit: EXIT.input,
    code: 'E_USAGE',
    name: 'UsageError',
    message,
    suggestions: [near, help].filter((text) => text !== ''),
  };
}

/** The text without terminal colours. */
function plain(text: string): string {
  return text.replaceAll(/\u001b\[[0-9;]*m/g, '');
}

/** The failure as `--json` prints it. */
export function failureJson({ code, name, message, suggestions }: Failure): { error: Omit<Failure, 'exit'> } {
  return { error: { code, name, message, suggestions } };
}
