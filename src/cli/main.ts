/** The program: runs a command line and sets the exit status. */
import { Config, run } from '@oclif/core';
import { fileURLToPath } from 'node:url';
import { printFailure } from './base-command.js';
import { failureJson, toFailure } from './failure.js';

/**
 * Runs one command line. Commands handle their own errors; what arrives here is an unknown command or a failure to
 * load one.
 *
 * @param argv arguments after the program's name
 * @param root file URL inside the package
 */
export async function main(argv: readonly string[], root: string): Promise<void> {
  try {
    await run([...argv], root);
  } catch (error) {
    const { commandIDs } = await Config.load(fileURLToPath(root));
    const failure = toFailure(error, { flags: [], commands: commandIDs });
    process.exitCode = failure.exit;
    if (argv.includes('--json')) process.stdout.write(`${JSON.stringify(failureJson(failure), null, 2)}\n`);
    else printFailure(failure, error);
  }
}
