// Takes the README's picture: the overview of a grid on which something happens.

import {
  approveWorker, openBrowser, openContext, openPart, owner, register, runSteps, sendJob, submitJob,
} from './steps.mjs';

const student = { name: 'sam', password: owner.password };
const JOBS = [
  { kind: 'python', name: 'Sum of squares', source: 'print(sum(i**2 for i in range(1_000_000)))' },
  { kind: 'c', name: 'Hello in C', source: '#include <stdio.h>\nint main(void) { puts("hello"); }' },
  { kind: 'shell', name: 'Monte Carlo, 4 parts', source: 'seq 1000000 | wc -l', array: '1-4' },
  { kind: 'shell', name: 'Wrong on purpose', source: 'exit 3' },
  { kind: 'python', name: 'Heat equation', source: 'import time\ntime.sleep(50)' },
  { kind: 'python', name: 'Night sky', source: 'import time\ntime.sleep(50)', needs: { cores: 2 } },
];

const browser = await openBrowser();
const viewport = { width: 1200, height: 600 };
const page = await (await openContext(browser)).newPage();
const studentPage = await (await openContext(browser, { viewport })).newPage();

const steps = [
  ['a grid with a machine', async () => {
    await register(page, owner);
    await approveWorker(page);
  }],
  ['jobs of a student', async () => {
    await register(studentPage, student);
    for (const { needs, array, ...job } of JOBS) {
      await submitJob(studentPage, { ...job, needs: { time_limit_s: 60, ...needs } });
      if (array) {
        await openPart(studentPage, 'array-part');
        await studentPage.fill('#array', array);
      }
      await sendJob(studentPage);
      // The last two stay: one runs, and the other waits for it.
      if (!job.source.includes('sleep')) {
        await studentPage.waitForFunction(
          () => /succeeded|failed/i.test(document.querySelector('#job-state').innerText));
      }
    }
  }],
  ['the picture', async () => {
    await studentPage.goto('/');
    await studentPage.waitForFunction(() => /running/i.test(document.querySelector('main').innerText));
    await studentPage.screenshot({ path: process.env.PICTURE });
  }],
];

process.exitCode = await runSteps(steps, () => studentPage);
await browser.close();
