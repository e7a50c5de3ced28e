// Takes the README's picture: the overview of a grid on which something happens.

import {
  approveWorker, openBrowser, openContext, owner, register, runSteps, sendJob, submitJob,
} from './steps.mjs';

const JOBS = [
  { kind: 'python', name: 'Sum of squares', source: 'print(sum(i**2 for i in range(1_000_000)))' },
  { kind: 'shell', name: 'Word count', source: 'seq 1000 | wc -l' },
  { kind: 'python', name: 'Night sky', source: 'import time\ntime.sleep(50)', needs: { cores: 1 } },
];

const browser = await openBrowser();
const context = await openContext(browser, { viewport: { width: 1200, height: 800 } });
const page = await context.newPage();

const steps = [
  ['a grid with a machine', async () => {
    await register(page, owner);
    await approveWorker(page);
  }],
  ['jobs', async () => {
    for (const job of JOBS) {
      await submitJob(page, { ...job, needs: { time_limit_s: 60, ...job.needs } });
      await sendJob(page);
    }
    await page.waitForFunction(() => /running/i.test(document.querySelector('#job-state').innerText));
  }],
  ['the picture', async () => {
    await page.goto('/');
    await page.evaluate(() => document.fonts.ready);
    await page.screenshot({ path: process.env.PICTURE });
  }],
];

process.exitCode = await runSteps(steps, () => page);
await browser.close();
