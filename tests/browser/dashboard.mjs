// A user's first hour: register, approve a machine, submit, watch, download, read the receipt; then
// the same pages on a phone, in the dark, for assistive technology, and without JavaScript.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

import { jobSteps } from './jobs.mjs';
import { marketSteps } from './market.mjs';
import {
  approveWorker, expect, logIn, openBrowser, openContext, openPart, owner, pictures, register, runSteps, send, sendJob,
  submitJob, textOf, url,
} from './steps.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core'), 'utf8');

const PHONE = { width: 360, height: 740 };
const DESK = { width: 1280, height: 900 };
const SLOW_JOB = {
  kind: 'python',
  name: 'slow counting',
  // It prints long enough for a page to be seen live, and no longer.
  source: `import os, time
for i in range(1, 9):
    print(f"line {i} of 8", flush=True)
    time.sleep(0.5)
with open(os.environ["OUTPUT_DIR"] + "/answer.txt", "w") as file:
    file.write("forty-two\\n")
`,
  needs: { cores: 1, ram_mib: 128, time_limit_s: 60 },
};

// Red letters, a bell, a script and text turned around.
const HOSTILE = "printf '\\033[31mred <b>bold</b>\\007 <script>document.title=1</script> \\342\\200\\256txt\\n'; sleep 2";

const HEADED_JOB = {
  kind: 'python',
  name: 'says what it needs',
  source: `# /// script
# requires-python = ">=3.9"
# dependencies = ["six"]
# ///
import six
print("six", six.__version__)
`,
  needs: { ram_mib: 128, time_limit_s: 60 },
};

const browser = await openBrowser();
const context = await openContext(browser, { viewport: DESK });
const page = await context.newPage();
const complaints = [];
watch(page);

let job;
let headedJob;
const more = [];

// Whatever the page complains of in its console is a fault, above all of the content policy.
function watch(page) {
  page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error.message}`));
  page.on('console', (message) => {
    // A page that is left breaks off what it has just asked for, and htmx says so.
    const isLeft = /^htmx:(sendAbort|afterRequest)/.test(message.text());
    if (message.type() === 'error' && !isLeft) {
      complaints.push(`${page.url()}: ${message.text()}`);
    }
  });
}

async function hasEnded(page) {
  return /succeeded|failed|cancelled/i.test(await textOf(page, '#job-state'));
}

// Every page that a logged-in user can reach, and the two that nobody else sees.
function pages() {
  return ['/', '/submit', '/submit?example=heat-flags', '/submit?example=word-lengths-node', '/jobs',
    `/jobs/${job}`, `/jobs/${headedJob}`, ...more, '/workers', '/workers/add', '/workers/approve', '/leaderboard', '/credits', '/account', '/users'];
}

async function sidewaysOverflow(page) {
  return page.evaluate(() => {
    const root = document.documentElement;
    if (root.scrollWidth <= root.clientWidth) {
      return '';
    }
    const wide = [...document.querySelectorAll('body *')]
      .filter((element) => element.getBoundingClientRect().right > root.clientWidth + 1)
      .map((element) => element.tagName.toLowerCase() + (element.id ? `#${element.id}` : ''));
    return `${root.scrollWidth} px wide in ${root.clientWidth}: ${wide.slice(0, 5).join(', ')}`;
  });
}

async function accessibilityFaults(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.target.join(' ')).slice(0, 3).join('; ')}`);
}

async function checkPages(page, paths, check) {
  const faults = [];
  for (const path of paths) {
    await page.goto(path, { waitUntil: 'load' });
    for (const fault of [await check(page)].flat().filter(Boolean)) {
      faults.push(`${path}: ${fault}`);
    }
  }
  expect(faults.length === 0, faults.join('\n'));
}

const steps = [
  ['a visitor registers and has credits', async () => {
    await register(page, owner);
    const balance = await textOf(page, '#balance');
    expect(/\b1000\b/.test(balance), `balance: ${balance}`);
  }],

  ['the owner approves the machine by its code', async () => {
    await approveWorker(page);
    await page.waitForFunction(() => /sandboxed/i.test(document.querySelector('main').innerText));
  }],

  ['a token to join by is one line to copy, and can be revoked', async () => {
    await page.goto('/workers/add');
    await page.fill('#host', 'grid.example.edu');
    await page.locator('#make').click();
    await page.waitForSelector('#command');
    const line = await textOf(page, '#command');
    const form = /^campusgrid-worker -m grid\.example\.edu( -p \d+)? --token cg1\.[0-9a-f]{64}\.\d+\.[0-9a-f]{32}$/;
    expect(form.test(line), `line: ${line}`);
    await page.locator('[data-copies=command]').click();
    const fingerprint = (await textOf(page, '#fingerprint')).replaceAll(/\s/g, '');
    expect(line.includes(`cg1.${fingerprint}.`), `fingerprint: ${fingerprint}`);
    expect(await sidewaysOverflow(page) === '', 'the line makes the page scroll sideways');
    await page.locator('#tokens button').first().click();
    await page.waitForFunction(() => !document.querySelector('#tokens') && !document.querySelector('#command'));
    await page.goto('/workers/approve');
    expect((await textOf(page, '#fingerprint')).replaceAll(/\s/g, '') === fingerprint, 'two fingerprints');
  }],

  ['the price is shown before anything is submitted', async () => {
    await submitJob(page, SLOW_JOB);
    // The preview follows the fields; the formula for 1 core, 128 MiB and one minute gives 8.125.
    await page.waitForFunction(() => /8[.,]12/.test(document.querySelector('#price').innerText));
    const fit = await textOf(page, '#fit');
    expect(/1 of 1/.test(fit), `fit: ${fit}`);
  }],

  ['the log is live before the job has ended', async () => {
    await sendJob(page);
    job = page.url().match(/\/jobs\/(\d+)/)[1];
    await page.waitForFunction(() => document.querySelector('#log-stdout')?.innerText.includes('line 2 of 8'));
    expect(!(await textOf(page, '#log-stdout')).includes('line 8'), 'the log came all at once');
    expect(!(await hasEnded(page)), 'the job had ended when its log appeared');
  }],

  ['the page follows the job to its end by itself', async () => {
    await page.waitForFunction(() => /succeeded/i.test(document.querySelector('#job-state').innerText));
    await page.waitForFunction(() => document.querySelector('#log-stdout').innerText.includes('line 8 of 8'));
  }],

  ['what a job prints is shown as it is, and steers nothing', async () => {
    const back = page.url();
    await submitJob(page, { kind: 'shell', name: 'hostile', source: HOSTILE, needs: { time_limit_s: 60 } });
    await sendJob(page);
    await page.waitForFunction(() => /succeeded/i.test(document.querySelector('#job-state').innerText));
    const isShown = () => document.querySelector('#log-stdout').innerText.includes('␛[31mred <b>bold</b>␇');
    await page.waitForFunction(isShown);
    expect((await page.locator('#log-stdout b').count()) === 0, 'the log has become part of the page');
    await page.reload();
    expect(await page.evaluate(isShown), 'the page shows something else than the stream');
    await page.goto(back);
  }],

  ['the output can be downloaded', async () => {
    const link = page.locator('#outputs a', { hasText: 'answer.txt' });
    const [download] = await Promise.all([page.waitForEvent('download'), link.click()]);
    const content = await readFile(await download.path(), 'utf8');
    expect(content === 'forty-two\n', `content: ${JSON.stringify(content)}`);
  }],

  ['the receipt says what it cost', async () => {
    const receipt = await textOf(page, '#receipt');
    expect(/\d/.test(receipt), `receipt: ${receipt}`);
  }],

  ['the worker says what it offers and how it confines jobs', async () => {
    await page.goto('/workers');
    const card = page.locator('.workers > li').first();
    expect(/python3/.test(await card.locator('.labels').innerText()), 'no Python among its features');
    const holds = card.locator('details[id^=holds]');
    await holds.locator('summary').click();
    const meaning = await holds.innerText();
    expect(/jobs/i.test(meaning), `what holds there: ${meaning}`);
    // The list is fetched anew whenever the grid changes, and what was opened stays open.
    await page.evaluate(() => {
      document.querySelector('#live').dataset.old = '';
      document.body.dispatchEvent(new Event('cg-grid'));
    });
    await page.waitForSelector('#live:not([data-old])');
    expect(await holds.getAttribute('open') !== null, 'an update closed what was open');
  }],

  ['what few need is folded away, and opens by keyboard', async () => {
    await page.goto('/submit');
    expect(!(await page.locator('#image').isVisible()), 'it is open from the start');
    await page.locator('#more > summary').focus();
    await page.keyboard.press('Enter');
    await page.locator('#image').waitFor();
    expect(!(await page.locator('#flags').isVisible()), 'flags are for C');
    await page.locator('[data-fills=uv_lock]').setInputFiles({
      name: 'uv.lock', mimeType: 'text/plain', buffer: Buffer.from('version = 1\n'),
    });
    await page.waitForFunction(() => document.querySelector('#uv_lock').value === 'version = 1\n');
    await page.locator('label[for=kind-c]').click();
    await page.locator('#flags').waitFor();
    expect(!(await page.locator('#uv_lock').isVisible()), 'lock files are for Python');
  }],

  ['the price knows who offers a feature', async () => {
    await page.fill('[name=labels]', 'no-such-tool');
    await page.waitForFunction(() => /offers no-such-tool/.test(document.querySelector('#fit').innerText));
    await page.fill('[name=labels]', '');
    await page.locator('.features [type=checkbox]').first().check();
    await page.waitForFunction(() => /1 of 1/.test(document.querySelector('#fit').innerText));
  }],

  ['what is wrong is said beside its field', async () => {
    await page.fill('[name=source]', 'int main(void) { return 0; }');
    await page.fill('[name=flags]', '-fplugin=<b>');
    await send(page, '[name=source]');
    const error = await textOf(page, '#flags-error');
    expect(error.includes('"-fplugin=<b>"'), `error: ${error}`);
    expect(await page.locator('.features [type=checkbox]').first().isChecked(), 'a choice was lost');
    // Chromium itself complains of the status.
    complaints.length = 0;
  }],

  ['a script that says what it needs has a lock', async () => {
    await submitJob(page, HEADED_JOB);
    await sendJob(page);
    headedJob = page.url().match(/\/jobs\/(\d+)/)[1];
    const asked = await textOf(page, '#asked');
    expect(/Packages\s+six/.test(asked) && asked.includes('>=3.9'), `asked for: ${asked}`);
    await page.waitForFunction(() => /succeeded|failed/i.test(document.querySelector('#job-state').innerText));
    if (/failed/i.test(await textOf(page, '#job-state'))) {
      const reason = await textOf(page, '#reason');
      expect(/index/.test(reason), reason);
      return `no package index: ${reason}`;
    }
    await page.waitForSelector('#lock a');
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#lock a').click()]);
    const lock = await readFile(await download.path(), 'utf8');
    expect(/^six==\d/m.test(lock) && lock.includes('--hash=sha256:'), `lock: ${lock}`);
    await page.waitForFunction(() => /^six \d/.test(document.querySelector('#log-stdout').innerText));
  }],

  ['a token is made by keyboard and shown once', async () => {
    await page.goto('/account');
    await page.fill('#token-name', 'a <b>script</b>');
    await page.locator('#scope-submit').focus();
    await page.keyboard.press('Space');
    await page.fill('#token-password', owner.password);
    await page.locator('#days').focus();
    await page.keyboard.press('Enter');
    await page.waitForSelector('#new-token');
    const token = await page.inputValue('#new-token');
    expect(/^cgp_[0-9a-f]{64}$/.test(token), `token: ${token}`);
    const row = await textOf(page, '#tokens tbody tr');
    expect(row.includes('a <b>script</b>') && row.includes('read, submit'), `row: ${row}`);
    const me = await fetch(`${url}/api/v1/me`, { headers: { authorization: `Bearer ${token}` } });
    expect((await me.json()).user === owner.name, `status ${me.status}`);
    await page.goto('/account');
    expect(!(await page.content()).includes(token), 'the token is shown twice');
    await page.locator('#tokens [id^=revoke]').first().click();
    await page.waitForSelector('#notice');
    const after = await fetch(`${url}/api/v1/me`, { headers: { authorization: `Bearer ${token}` } });
    expect(after.status === 401, `status ${after.status} after it was revoked`);
  }],

  ['another browser is seen and logged out', async () => {
    const elsewhere = await openContext(browser, { viewport: PHONE });
    const other = await elsewhere.newPage();
    await logIn(other, owner);
    await page.goto('/account');
    const rows = page.locator('#sessions tbody tr');
    expect((await rows.count()) === 2, `${await rows.count()} logins`);
    const row = rows.filter({ hasNotText: 'this one' });
    expect(/Chrom/.test(await row.innerText()), `row: ${await row.innerText()}`);
    await row.locator('button').click();
    await page.waitForSelector('#notice');
    await other.goto('/jobs');
    expect(other.url().includes('/login'), `the other browser is at ${other.url()}`);
    await elsewhere.close();
  }],

  ['an operator makes an invitation and takes it back', async () => {
    await page.goto('/users');
    const row = await textOf(page, '#users tbody tr');
    expect(row.includes(owner.name) && row.includes('operator'), `row: ${row}`);
    await send(page, '#uses');
    await page.waitForSelector('#new-link');
    const link = await page.inputValue('#new-link');
    expect(link.startsWith(`${url}/register?invitation=cgi.`), `link: ${link}`);
    await page.locator('#invitations [id^=revoke]').first().click();
    await page.waitForSelector('#notice');
    expect((await page.locator('#invitations').count()) === 0, 'the invitation is still there');
  }],

  ...jobSteps({ browser, context, page, complaints, made: (...paths) => more.push(...paths) }),
  ...marketSteps({
    browser, context, page, complaints, watch, overflow: sidewaysOverflow, made: (...paths) => more.push(...paths),
  }),

  ['an unknown job is a page, not a stack trace', async () => {
    const answer = await page.goto('/jobs/999999');
    expect(answer.status() === 404, `status ${answer.status()}`);
    expect((await page.locator('main').count()) === 1, 'no main element');
    // Chromium itself complains of the status.
    complaints.length = 0;
  }],

  ['no page scrolls sideways on a phone', async () => {
    await page.setViewportSize(PHONE);
    await checkPages(page, pages(), sidewaysOverflow);
    await page.setViewportSize(DESK);
  }],

  ['no page has serious accessibility faults, in light and in the dark', async () => {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await checkPages(page, pages(), accessibilityFaults);
    }
    await page.emulateMedia({ colorScheme: 'light' });
  }],

  ['a visitor meets the same care', async () => {
    const stranger = await openContext(browser, { viewport: PHONE });
    const visitor = await stranger.newPage();
    watch(visitor);
    await checkPages(visitor, ['/login', '/register', '/verify'], sidewaysOverflow);
    await checkPages(visitor, ['/login', '/register', '/verify'], accessibilityFaults);
    await visitor.goto(`/jobs/${job}`);
    expect(visitor.url().includes('/login'), `a stranger is at ${visitor.url()}`);
    await stranger.close();
  }],

  ['everything works without JavaScript', async () => {
    const plain = await openContext(browser, {
      viewport: DESK, javaScriptEnabled: false, storageState: await context.storageState(),
    });
    const reader = await plain.newPage();
    await submitJob(reader, { kind: 'shell', name: 'plain', source: 'echo no script needed', needs: { time_limit_s: 60 } });
    await sendJob(reader);
    for (let look = 0; look < 150 && !(await hasEnded(reader)); look += 1) {
      await reader.waitForTimeout(200);
      await reader.reload();
    }
    expect(/succeeded/i.test(await textOf(reader, '#job-state')), 'the job did not succeed');
    const log = await textOf(reader, '#log-stdout');
    expect(log.includes('no script needed'), `log: ${log}`);
    await plain.close();
  }],

  ['no page complained in its console', async () => {
    expect(complaints.length === 0, complaints.join('\n'));
  }],

  ['logging out ends the session', async () => {
    await page.goto('/');
    await page.locator('form[action="/logout"] [type=submit]').first().click();
    await page.goto('/jobs');
    expect(page.url().startsWith(`${url}/login`), `still at ${page.url()}`);
  }],
];

const status = await runSteps(steps, () => page);
await browser.close();
process.exitCode = status;
