// Prints one plain line at the very end, for readers (human or not) that only look there.
export default class ClosingLineReporter {
  onTestRunEnd(modules) {
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    let broken = 0;
    for (const module of modules) {
      if (module.errors().length > 0) broken += 1;
      for (const test of module.children.allTests()) count[test.result().state] += 1;
    }
    const failed = count.failed + count.pending + broken;
    process.on('exit', () => console.log(`${count.passed} passed, ${failed} failed, ${count.skipped} skipped`));
  }
}
