/** Runs a command class in this process and collects what it prints and how it would exit. */
import type { Command } from '@oclif/core';
import { captureOutput } from '@oclif/test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exit: number;
}

interface CommandClass {
  run(argv: string[], options: { root: string }): Promise<unknown>;
}

export async function runCommand(command: typeof Command, ...argv: string[]): Promise<Outcome> {
  const before = process.exitCode;
  process.exitCode = undefined;
  try {
    const run = (command as unknown as CommandClass).run.bind(command);
    const { stdout, stderr, error } = await captureOutput(() => run(argv, { root }), {
      // Under NODE_ENV=test, oclif adds warnings for developers.
      testNodeEnv: 'production',
    });
    if (error !== undefined) throw error;
    return { stdout, stderr, exit: Number(process.exitCode ?? 0) };
  } finally {
    process.exitCode = before;
  }
}
