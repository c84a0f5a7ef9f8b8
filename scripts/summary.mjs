// Prints "N passed, N failed" from vitest's JSON results and the checks counted outside; exits 1 when anything failed.
import { readFileSync } from 'node:fs';

const [file, passedChecks, failedChecks] = process.argv.slice(2);

function tests() {
  try {
    const { numPassedTests, numFailedTests, success } = JSON.parse(readFileSync(file, 'utf8'));
    // A test file that cannot even be loaded fails no test, but the run.
    return { passed: numPassedTests, failed: success ? 0 : Math.max(numFailedTests, 1) };
  } catch {
    return { passed: 0, failed: 1 };
  }
}

const { passed, failed } = tests();
const allFailed = failed + Number(failedChecks);
console.log(`${passed + Number(passedChecks)} passed, ${allFailed} failed`);
process.exit(allFailed === 0 ? 0 : 1);
