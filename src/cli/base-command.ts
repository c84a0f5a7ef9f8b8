/** What all commands share: flags, exit statuses, errors on one screen or as JSON, progress, signals. */
import { Command, Flags } from '@oclif/core';
import type { Config, LoadedConfig } from '../config/index.js';
import { EXIT, createContext, type Context, type Note } from '../core/index.js';
import { failureJson, toFailure, type Failure } from './failure.js';
import { flagValues, type Given } from './flag-values.js';
import type { FlagKeys } from './flags.js';
import { listenForInterrupt, type Interrupt } from './interrupt.js';
import { createProgress, silentProgress, type StartProgress } from './progress.js';
import { painter } from './style.js';

/** The run's context and the notes it has collected. */
export type CommandContext = Context & { readonly notes: readonly Note[] };

interface GlobalFlags {
  readonly config?: string | undefined;
  readonly quiet?: boolean;
  readonly 'print-config'?: boolean;
}

export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true;

  static override baseFlags = {
    config: Flags.string({
      char: 'c',
      helpGroup: 'GLOBAL',
      helpValue: 'FILE',
      env: 'FXQ_CONFIG',
      description: 'Configuration file; fxq.config.yaml or fxq.config.json of the working folder by default.',
    }),
    'print-config': Flags.boolean({
      helpGroup: 'GLOBAL',
      description: 'Print the merged configuration and where each value comes from, and stop.',
    }),
    seed: Flags.integer({
      helpGroup: 'GLOBAL',
      min: 0,
      env: 'FXQ_SEED',
      description: 'Seed of everything random. The same seed gives the same bytes. [default: 0]',
    }),
    threads: Flags.integer({
      helpGroup: 'GLOBAL',
      min: 0,
      env: 'FXQ_THREADS',
      description: 'Threads of the runtime; 0 lets it choose. Results do not depend on it. [default: 0]',
    }),
    quiet: Flags.boolean({
      char: 'q',
      helpGroup: 'GLOBAL',
      description: 'No progress and no notes on stderr.',
    }),
  };

  #interrupt: Interrupt | undefined;
  #silent = false;

  /**
   * Merges flags and configuration and runs a program with them; under --print-config shows the configuration instead.
   *
   * @param given flags and arguments by name
   * @param keys configuration key of each that sets one
   */
  protected async execute<T>(
    given: Given & GlobalFlags,
    keys: FlagKeys,
    program: (loaded: LoadedConfig, ctx: CommandContext) => Promise<T>,
  ): Promise<T | Pick<LoadedConfig, 'values' | 'origins'>> {
    this.#silent = given.quiet === true || this.jsonEnabled();
    // Loaded only now, so that --help and a mistyped flag answer at once.
    const { loadConfig, parseInput, printConfig } = await import('../config/index.js');
    const all = { ...keys, seed: ['seed'], threads: ['threads'] };
    const loaded = loadConfig({
      folder: process.cwd(),
      ...(given.config === undefined ? {} : { file: given.config }),
      flags: flagValues(given, all, (name) => this.#source(name), parseInput),
    });
    if (given['print-config'] === true) {
      const { values, origins } = loaded;
      this.log(printConfig(values, origins).trimEnd());
      return { values, origins };
    }
    return program(loaded, await this.#createContext(loaded.config));
  }

  /** The name of a value's origin: its flag, the environment variable it has, or the argument. */
  #source(name: string): string {
    if (this.ctor.args[name] !== undefined) return name.toUpperCase();
    const flag = `--${name}`;
    const variable = (this.ctor.baseFlags?.[name] ?? this.ctor.flags[name])?.env;
    const typed = this.argv.some((word) => word === flag || word.startsWith(`${flag}=`));
    return variable !== undefined && !typed ? variable : flag;
  }

  /** Progress and notes go to stderr, unless quiet or JSON. */
  async #createContext({ seed = 0, threads = 0 }: Config): Promise<CommandContext> {
    this.#interrupt = listenForInterrupt(process, (message) => this.say('warning', message));
    const notes: Note[] = [];
    const context = createContext({
      seed,
      threads,
      signal: this.#interrupt.signal,
      start: await this.#progress(),
      note: (note) => {
        notes.push(note);
        this.say(note.level === 'warn' ? 'warning' : 'note', note.message);
      },
    });
    return { ...context, notes };
  }

  async #progress(): Promise<StartProgress> {
    if (this.#silent) return silentProgress;
    const clock = (): number => performance.now();
    const write = (line: string): void => void process.stderr.write(`${line}\n`);
    if (!process.stderr.isTTY || process.env.CI !== undefined) return createProgress({ write, clock });
    const { default: spinner } = await import('ora');
    return createProgress({ spinner, write, clock });
  }

  /** A line on stderr, unless quiet or JSON. */
  protected say(kind: 'note' | 'warning', message: string): void {
    if (this.#silent) return;
    const paint = painter(process.stderr);
    process.stderr.write(`${paint(kind === 'warning' ? 'warn' : 'muted', `${kind}:`)} ${message}\n`);
  }

  override async catch(error: Error): Promise<void> {
    const failure = this.#failure(error);
    process.exitCode = failure.exit;
    if (this.jsonEnabled()) this.logJson(failureJson(failure));
    else printFailure(failure, error);
  }

  override async finally(): Promise<void> {
    this.#interrupt?.dispose();
  }

  override toErrorJson(error: Error): { error: Omit<Failure, 'exit'> } {
    return failureJson(this.#failure(error));
  }

  #failure(error: Error): Failure {
    const { flags, baseFlags } = this.ctor;
    const known = [...Object.keys(flags ?? {}), ...Object.keys(baseFlags ?? {}), 'json', 'help'];
    const failure = toFailure(error, { flags: known, commands: [] });
    const status = this.#interrupt?.exitCode();
    return failure.exit === EXIT.interrupted && status !== undefined ? { ...failure, exit: status } : failure;
  }
}

/** One screen on stderr: what and where, then what to do; the stack only under DEBUG=fxq. */
export function printFailure({ message, suggestions }: Failure, error: unknown): void {
  const paint = painter(process.stderr);
  const lines = [
    `${paint('bad', 'error:')} ${message}`,
    ...suggestions.map((suggestion) => `${paint('muted', '  →')} ${suggestion}`),
  ];
  if (isDebugging() && error instanceof Error) lines.push(paint('muted', error.stack ?? ''));
  process.stderr.write(`${lines.join('\n')}\n`);
}

function isDebugging(): boolean {
  return /(^|,)(\*|fxq(:\*)?)(,|$)/.test(process.env.DEBUG ?? '');
}
