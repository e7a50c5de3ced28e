// Jobs as people have them: an array with a failure, a folder of files, a chain that breaks, tasks that
// are taken back, notices of the browser. Each step builds on a registered owner and a machine.

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, openContext, openPart, sendJob, submitJob, textOf } from './steps.mjs';

const SMALL = { ram_mib: 64, disk_mib: 64, time_limit_s: 60 };
const FAILS_AT_7 = 'echo "task $CAMPUSGRID_TASK_INDEX"; [ "$CAMPUSGRID_TASK_INDEX" != 7 ] || exit 3';

// Larger than a piece, so that it goes in several.
const LARGE_BYTES = 20 * 1024 * 1024;

const idOf = (page) => page.url().match(/\/jobs\/(\d+)/)[1];
const stateIs = (page, form) => page.waitForFunction(
  (source) => new RegExp(source, 'i').test(document.querySelector('#job-state').innerText), form.source);
const legend = (page) => textOf(page, '#legend');

// Records what the page would show, and says yes when asked.
function stubNotices() {
  globalThis.told = [];
  globalThis.asked = 0;
  globalThis.Notification = class {
    static permission = 'default';
    static async requestPermission() {
      globalThis.asked += 1;
      this.permission = 'granted';
      return 'granted';
    }
    constructor(title, { body }) { globalThis.told.push(`${title}: ${body}`); }
    addEventListener() {}
    close() {}
  };
}

// `made` is told the pages that come of it, to be looked at by other steps.
export function jobSteps({ browser, context, page, complaints, made }) {
  let folder;
  let failing;

  return [
    ['an array of twenty has a map, and its one failure is found', async () => {
      await submitJob(page, { kind: 'shell', name: 'twenty', source: FAILS_AT_7, needs: SMALL });
      await openPart(page, 'array-part');
      await page.fill('#array', '1-20');
      await page.waitForFunction(() => /each of 20 tasks/.test(document.querySelector('#quote').innerText));
      await sendJob(page);
      failing = idOf(page);
      made(`/jobs/${failing}`, `/jobs/${failing}?state=failed&from=7&to=7`);
      expect((await page.locator('#map a').count()) === 20, 'a cell for each task');
      await stateIs(page, /failed/);
      await page.waitForFunction(() => /19 succeeded/.test(document.querySelector('#legend').innerText));
      expect(/1 failed/.test(await legend(page)), await legend(page));
      const cell = page.locator('#cell-7');
      expect((await cell.getAttribute('aria-label')) === 'Task 7: failed', await cell.getAttribute('aria-label'));
      expect((await cell.innerText()).includes('✕'), 'the failure is told by its colour alone');
      await cell.click();
      const rows = page.locator('#tasks tbody tr');
      expect((await rows.count()) === 1 && /exit code 3/.test(await rows.innerText()), await rows.first().innerText());
      await page.locator('#tasks a', { hasText: 'Log' }).click();
      await page.waitForFunction(() => document.querySelector('#log-stdout').innerText.includes('task 7'));
    }],

    ['the map is walked by arrow keys, with one stop for the tab key', async () => {
      await page.goto(`/jobs/${failing}`);
      const stops = await page.locator('#map a[tabindex="0"]').count();
      expect(stops === 1, `${stops} stops`);
      await page.locator('#map a[tabindex="0"]').focus();
      await page.keyboard.press('ArrowRight');
      await page.keyboard.press('End');
      await page.keyboard.press('ArrowLeft');
      expect((await page.evaluate(() => document.activeElement.id)) === 'cell-19', 'the arrows lead elsewhere');
      await page.keyboard.press('Enter');
      await page.waitForURL(/from=19&to=19/);
      expect((await page.locator('#cell-19').getAttribute('aria-current')) === 'true', 'the choice is not shown');
    }],

    ['the table shows one state at a time', async () => {
      await page.selectOption('#filter-state', 'failed');
      await page.fill('#filter-from', '');
      await page.fill('#filter-to', '');
      await page.locator('#task-filter button').click();
      await page.waitForURL(/state=failed/);
      expect((await page.locator('#tasks tbody tr').count()) === 1, 'more than the failed one');
    }],

    ['what failed is run again as a job of its own', async () => {
      await page.locator('#retry').click();
      await page.waitForURL((url) => /\/jobs\/\d+/.test(url.pathname) && !url.pathname.endsWith(`/${failing}`));
      expect((await textOf(page, '#notice')).includes(`job ${failing}`), await textOf(page, '#notice'));
      expect(/Indices\s+7/.test(await textOf(page, '#asked')), await textOf(page, '#asked'));
      await stateIs(page, /failed/);
      await page.waitForFunction(() => document.querySelector('#log-stdout').innerText.includes('task 7'));
    }],

    ['a folder and a large file become a draft while the form is filled in', async () => {
      folder = await mkdtemp(join(tmpdir(), 'browser-folder-'));
      await mkdir(join(folder, 'data', 'deep'), { recursive: true });
      await writeFile(join(folder, 'data', 'a b.txt'), 'first\n');
      await writeFile(join(folder, 'data', 'deep', 'ü.txt'), 'second\n');
      await writeFile(join(folder, 'large.bin'), Buffer.alloc(LARGE_BYTES, 'x'));
      await submitJob(page, {
        kind: 'shell', name: 'reads files', needs: SMALL,
        source: 'cat "data/a b.txt" data/deep/*.txt > "$OUTPUT_DIR/all.txt"; wc -c < large.bin > size.csv',
      });
      await openPart(page, 'files-part');
      await page.locator('#folder').setInputFiles(join(folder, 'data'));
      await page.waitForURL(/\/jobs\/\d+$/);
      await page.waitForFunction(() => /2 files/.test(document.querySelector('#file-count')?.innerText));
      expect((await page.inputValue('#name')) === 'reads files', 'what was typed is gone');
      // One piece is lost on the way; the upload goes on where it broke.
      let broken = 0;
      await page.route('**/uploads/large.bin*', (route) => {
        const isSecond = route.request().headers()['upload-offset'] > 0;
        if (isSecond && broken === 0) {
          broken += 1;
          return route.abort('connectionreset');
        }
        return route.continue();
      });
      await page.locator('#files').setInputFiles(join(folder, 'large.bin'));
      await page.waitForFunction(() => /3 files/.test(document.querySelector('#file-count')?.innerText));
      await page.unroute('**/uploads/large.bin*');
      expect(broken === 1, 'no piece was lost');
      complaints.length = 0; // Chromium itself complains of the broken connection.
      made(new URL(page.url()).pathname, `${new URL(page.url()).pathname}/files`);
    }],

    ['files are dropped on the form, and taken away again', async () => {
      const dropped = await page.evaluateHandle(() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(['dropped'], 'dropped.txt'));
        return transfer;
      });
      await page.dispatchEvent('#drop', 'drop', { dataTransfer: dropped });
      await page.waitForFunction(() => /4 files/.test(document.querySelector('#file-count')?.innerText));
      await page.locator('button[name=remove][value="dropped.txt"]').click();
      await page.waitForFunction(() => /3 files/.test(document.querySelector('#file-count')?.innerText));
    }],

    ['a draft is in the list, and continued from there', async () => {
      await page.goto('/jobs?state=draft');
      const row = page.locator('#live tbody tr').first();
      expect(/draft/.test(await row.innerText()), await row.innerText());
      await row.locator('a').click();
      expect((await page.inputValue('#name')) === 'reads files', 'what was typed is gone');
      expect(/large\.bin/.test(await textOf(page, '#file-list')), await textOf(page, '#file-list'));
    }],

    ['it is launched, and its outputs come as a zip', async () => {
      await openPart(page, 'files-part');
      await page.fill('#outputs', '*.csv');
      await page.locator('#submit').click();
      await page.waitForFunction(() => document.querySelector('#job-state')?.innerText !== 'draft' && document.querySelector('#log'));
      await stateIs(page, /succeeded/);
      made(new URL(page.url()).pathname);
      await page.waitForSelector('#zip');
      const outputs = await textOf(page, '#outputs');
      expect(outputs.includes('all.txt') && outputs.includes('size.csv'), outputs);
      expect(/kept until \d{4}-/.test(await textOf(page, '#kept')), await textOf(page, '#kept'));
      expect(/data\/deep\/ü\.txt/.test(await textOf(page, '#inputs')), await textOf(page, '#inputs'));
      const fetched = async (locator) => {
        const [download] = await Promise.all([page.waitForEvent('download'), locator.click()]);
        return readFile(await download.path());
      };
      const all = await fetched(page.locator('#outputs a', { hasText: 'all.txt' }));
      expect(all.toString() === 'first\nsecond\n', `content: ${all}`);
      const size = await fetched(page.locator('#outputs a', { hasText: 'size.csv' }));
      expect(size.toString().trim() === String(LARGE_BYTES), `size: ${size}`);
      const zip = await fetched(page.locator('#zip'));
      expect(zip.subarray(0, 2).toString() === 'PK' && zip.includes('all.txt') && zip.includes('size.csv'), 'no zip');
      await rm(folder, { recursive: true });
    }],

    ['its files and logs can be deleted, after asking again', async () => {
      expect(!(await page.locator('#delete').isVisible()), 'one click would delete all');
      await page.locator('#delete-part > summary').click();
      await page.locator('#delete').click();
      await page.waitForFunction(() => /kept no longer/.test(document.querySelector('#kept').innerText));
      expect((await page.locator('#zip').count()) === 0, 'the zip is still offered');
    }],

    ['a chain that breaks says so, and what waited is refunded', async () => {
      await submitJob(page, { kind: 'shell', name: 'fails soon', source: 'sleep 4; exit 1', needs: SMALL });
      await sendJob(page);
      const first = idOf(page);
      await submitJob(page, { kind: 'shell', name: 'never starts', source: 'true', needs: SMALL });
      await openPart(page, 'start-part');
      await page.fill('[name="after_job.0"]', first);
      await sendJob(page);
      made(new URL(page.url()).pathname);
      expect((await textOf(page, '#job-head')).includes(`job ${first}`), await textOf(page, '#job-head'));
      await stateIs(page, /cancelled/);
      const note = await textOf(page, '#note');
      expect(note.includes(`job ${first}`), note);
      expect((await page.locator(`#note a[href="/jobs/${first}"]`).count()) === 1, 'the other job is not a link away');
      expect((await textOf(page, '#refunded')) === (await textOf(page, '#held')), await textOf(page, '#receipt'));
    }],

    ['a range of tasks is cancelled while the job is held back', async () => {
      await submitJob(page, { kind: 'shell', name: 'held', source: 'true', needs: SMALL });
      await openPart(page, 'array-part');
      await page.fill('#array', '0-9');
      await openPart(page, 'start-part');
      await page.check('#hold');
      await sendJob(page);
      await page.waitForSelector('#on-hold');
      await page.locator('#more-actions > summary').click();
      await page.fill('#cancel-tasks', '2-4');
      await page.locator('#cancel-some').click();
      await page.waitForFunction(() => /3 cancelled/.test(document.querySelector('#legend').innerText));
      await page.locator('#more-actions > summary').click();
      await page.fill('#cancel-tasks', '99');
      await page.locator('#cancel-some').click();
      await page.waitForSelector('#problem, #legend');
      complaints.length = 0; // Chromium itself complains of the status.
      await page.goto(new URL(page.url()).pathname.replace('/cancel', ''));
      await page.locator('#release').click();
      await page.waitForFunction(() => /7 succeeded/.test(document.querySelector('#legend').innerText));
    }],

    ['a browser tells of a job once it was asked to, and not before', async () => {
      const other = await openContext(browser, { storageState: await context.storageState() });
      await other.addInitScript(stubNotices);
      const reader = await other.newPage();
      await submitJob(reader, { kind: 'shell', name: 'told of', source: 'sleep 3', needs: SMALL });
      await sendJob(reader);
      expect((await reader.evaluate(() => globalThis.asked)) === 0, 'the page asks by itself');
      await reader.locator('#tell').click();
      await reader.waitForFunction(() => document.querySelector('#tell').getAttribute('aria-pressed') === 'true');
      await reader.waitForFunction(() => globalThis.told.some((words) => /told of .*It has succeeded/.test(words)));
      await other.close();
    }],

    ['what is on its way is found by state and name, and cancelled with one answer', async () => {
      await submitJob(page, { kind: 'shell', name: 'endless', source: 'sleep 50', needs: SMALL });
      await sendJob(page);
      await page.goto('/jobs');
      await page.selectOption('#filter-state', 'queued,running');
      await page.fill('#filter-name', 'ENDLESS');
      await page.locator('#job-filter button').click();
      await page.waitForURL(/name=ENDLESS/);
      expect((await page.locator('#live tbody tr').count()) === 1, 'not the one job');
      expect(!(await page.locator('#cancel-all').isVisible()), 'one click would cancel everything');
      await page.locator('#cancel-all-part > summary').click();
      await page.locator('#cancel-all').click();
      await page.waitForSelector('#notice');
      expect(/Cancelled 1 job/.test(await textOf(page, '#notice')), await textOf(page, '#notice'));
    }],

    ['a secret for webhooks is shown once', async () => {
      await page.goto('/account');
      await page.locator('#make-secret').click();
      const secret = await page.inputValue('#new-secret');
      expect(/^whsec_/.test(secret), `secret: ${secret}`);
      await page.goto('/account');
      expect(!(await page.content()).includes(secret), 'the secret is shown twice');
    }],

    ['a form whose file would lie elsewhere, or that is not ours, is refused', async () => {
      await page.goto('/submit');
      const statuses = await page.evaluate(async () => {
        const post = async (token, name) => {
          const form = new FormData(document.querySelector('#submit-form'));
          form.set('form_token', token);
          form.set('files', new File(['x'], name));
          return (await fetch('/submit/draft', { method: 'POST', body: form })).status;
        };
        const token = document.querySelector('[name=form_token]').value;
        return [await post(token, '../up.txt'), await post(token, '/etc/passwd'), await post('0'.repeat(64), 'a.txt')];
      });
      expect(statuses.join() === '422,422,403', `statuses: ${statuses}`);
      complaints.length = 0; // Chromium itself complains of the statuses.
      await page.goto('/jobs?state=draft');
      expect((await page.locator('#live tbody tr').count()) === 0, 'a draft was left behind');
    }],

    ['a draft is discarded with its files, after asking again', async () => {
      await submitJob(page, { kind: 'shell', name: 'not after all', source: 'true', needs: SMALL });
      await openPart(page, 'files-part');
      await page.locator('#files').setInputFiles({ name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('a') });
      await page.waitForFunction(() => /1 file,/.test(document.querySelector('#file-count')?.innerText));
      expect(!(await page.locator('#discard').isVisible()), 'one click would discard it');
      await page.locator('#discard-part > summary').click();
      await page.locator('#discard').click();
      await page.waitForURL(/\/jobs$/);
      expect(!(await page.locator('#live').innerText()).includes('not after all'), 'it is still there');
    }],

    ['files come without JavaScript just as well', async () => {
      const plain = await openContext(browser, { javaScriptEnabled: false, storageState: await context.storageState() });
      const reader = await plain.newPage();
      await submitJob(reader, { kind: 'shell', name: 'plain files', source: 'cat words.txt', needs: SMALL });
      await openPart(reader, 'files-part');
      await reader.locator('#files').setInputFiles({ name: 'words.txt', mimeType: 'text/plain', buffer: Buffer.from('plain words\n') });
      await reader.locator('#save-draft').click();
      await reader.waitForSelector('#discard-part');
      expect(/words\.txt/.test(await textOf(reader, '#file-list')), await textOf(reader, '#file-list'));
      await reader.locator('#files').setInputFiles({ name: 'more.txt', mimeType: 'text/plain', buffer: Buffer.from('more\n') });
      await reader.locator('#add-files').click();
      expect(/2 files/.test(await textOf(reader, '#file-count')), await textOf(reader, '#file-count'));
      await reader.locator('button[name=remove][value="more.txt"]').click();
      expect(/1 file,/.test(await textOf(reader, '#file-count')), await textOf(reader, '#file-count'));
      await reader.locator('#submit').click();
      await reader.waitForSelector('#log');
      for (let look = 0; look < 150 && !/succeeded|failed/.test(await textOf(reader, '#job-state')); look += 1) {
        await reader.waitForTimeout(200);
        await reader.reload();
      }
      expect((await textOf(reader, '#log-stdout')).includes('plain words'), await textOf(reader, '#log-stdout'));
      await plain.close();
    }],
  ];
}
