// The HPC marketplace: a provider says what of a machine is shared and bids from a phone; a client has C
// code bid for, accepts a bid and reads what came of it. Then sealed bids, standing prices, and an owner
// who takes the machine back. Each step builds on a registered owner and a machine.

import { expect, openContext, openPart, owner, register, sendJob, submitJob, textOf } from './steps.mjs';

const PHONE = { width: 360, height: 740 };
const SMALL = { cores: 1, ram_mib: 128, disk_mib: 64, time_limit_s: 60 };
const IN_C = `#include <omp.h>
#include <stdio.h>
int main(void) {
  double sum = 0;
  #pragma omp parallel for reduction(+:sum)
  for (int i = 1; i <= 1000; i++) sum += i;
  printf("the sum is %.0f\\n", sum);
}
`;

// Counts to eight, and goes on where it was when it is run again.
const COUNTS = `n=$(cat "$CHECKPOINT_DIR/n" 2>/dev/null || echo 0)
echo "goes on at $n"
while [ "$n" -lt 8 ]; do
  sleep 0.5
  n=$((n + 1))
  echo "$n" > "$CHECKPOINT_DIR/new" && mv "$CHECKPOINT_DIR/new" "$CHECKPOINT_DIR/n"
  echo "at $n"
done`;

const idOf = (page) => page.url().match(/\/jobs\/(\d+)/)[1];
const number = (text) => Number(text.replace(/[^\d.]/g, ''));

// Waits for a text that comes by itself.
const says = (page, selector, form) => page.waitForFunction(
  ([selector, source]) => new RegExp(source, 'i').test(document.querySelector(selector)?.innerText ?? ''),
  [selector, form.source]);

async function submitForBids(page, job, market, fill = async () => {}) {
  await submitJob(page, { kind: 'c', needs: SMALL, ...job });
  await openPart(page, 'sale-part');
  await page.check(`#market-${market}`);
  await fill();
  await sendJob(page);
  return idOf(page);
}

async function bid(phone, job, price) {
  await phone.goto('/market');
  await phone.locator(`#open-${job} a[role=button]`).click();
  await phone.fill('#price', price);
  await phone.locator('#place-bid').click();
  await phone.waitForSelector('#notice');
}

async function accept(page, price) {
  await says(page, '#bid-rows', new RegExp(price.replace('.', '\\.')));
  await page.locator('#bid-rows button.accept').first().click();
  await page.waitForSelector('#award');
}

// `made` is told the pages that come of it, to be looked at by other steps; `overflow` says whether a page
// scrolls sideways.
export function marketSteps({ browser, context, page, complaints, made, watch, overflow }) {
  let worker;
  let client;
  let phone;
  let job;
  const machine = () => `/workers/${worker}`;

  return [
    ['a provider says what of the machine is shared', async () => {
      await page.goto('/workers');
      await page.locator('.workers > li h2 a').first().click();
      await page.waitForURL(/\/workers\/\d+/);
      worker = page.url().match(/\/workers\/(\d+)/)[1];
      expect((await textOf(page, '#machine-state')) === 'online', await textOf(page, '#machine-state'));
      expect(/%/.test(await textOf(page, '#score')), await textOf(page, '#score'));
      await page.fill('#cores', '1');
      await page.check('#whose-of');
      await page.locator('#save-rules').click();
      expect(/somebody/.test(await textOf(page, '[id="limits.whose-error"]')), 'no error beside its field');
      expect((await page.inputValue('#cores')) === '1', 'what was typed was lost');
      complaints.length = 0; // Chromium itself complains of the status.
      await page.check('#whose-everyone');
      await page.fill('#ram_mib', '1024');
      await page.locator('#save-rules').click();
      await page.waitForSelector('#notice');
      expect((await page.inputValue('#ram_mib')) === '1024', 'the rules were not kept');
      await page.goto('/workers');
      await says(page, `#worker-${worker} .meters`, /1 GiB (of .*)?free|of 1 free/);
    }],

    ['a client has C code bid for, and nothing is held', async () => {
      client = await (await openContext(browser)).newPage();
      watch(client);
      await register(client, { name: 'clara', password: owner.password });
      const before = await textOf(client, '#balance');
      job = await submitForBids(client, { name: 'Sum in C', source: IN_C }, 'hand', async () => {
        await says(client, '#price', /What you accept/);
      });
      expect((await textOf(client, '#balance')) === before, 'something was held');
      await says(client, '#bids-words', /can bid/);
      await says(client, '#waiting', /bid/);
      made(`/jobs/${job}`);
    }],

    ['the provider bids from a phone, and improves the bid', async () => {
      const small = await openContext(browser, { viewport: PHONE, storageState: await context.storageState() });
      phone = await small.newPage();
      watch(phone);
      await bid(phone, job, '7,5');
      expect(/7\.5/.test(await textOf(phone, `#bid-${worker}`)), await textOf(phone, '#own-bids'));
      expect((await overflow(phone)) === '', await overflow(phone));
      await phone.fill('#price', 'cheap');
      await phone.locator('#place-bid').click();
      expect(/credits/.test(await textOf(phone, '#price-error')), 'no error beside the price');
      complaints.length = 0; // Chromium itself complains of the status.
      await bid(phone, job, '5.25');
      const standing = await textOf(phone, '#own-bids');
      expect(/5\.25/.test(standing) && !/7\.5/.test(standing), standing);
    }],

    ['the client sees the bid come, with what is known of the machine', async () => {
      await says(client, '#bid-rows', /5\.25/);
      const row = await textOf(client, '#bid-rows tbody tr');
      expect(/starts at once/.test(row) && /\d %/.test(row) && /of the formula/.test(row), row);
      expect((await client.locator('#bid-rows tbody tr').count()) === 1, 'two bids of one machine');
    }],

    ['the client accepts, the job runs on that machine, and its output is there', async () => {
      await accept(client, '5.25');
      await says(client, '#job-state', /succeeded/);
      await says(client, '#log-stdout', /the sum is 500500/);
      await says(client, '#held', /5\.25/);
      expect(number(await textOf(client, '#charged')) <= 5.25, await textOf(client, '#charged'));
    }],

    ['the provider is paid and free again', async () => {
      await phone.goto('/market/bids');
      expect(/accepted/.test(await textOf(phone, '#my-bids tbody tr')), await textOf(phone, '#my-bids'));
      await phone.goto(machine());
      await says(phone, '#live', /runs 0 tasks/);
      expect(number(await textOf(phone, '#earned dd')) > 0, await textOf(phone, '#earned'));
      await openPart(phone, 'earned-jobs');
      expect(/Sum in C/.test(await textOf(phone, '#earned-jobs')), await textOf(phone, '#earned-jobs'));
      expect((await overflow(phone)) === '', await overflow(phone));
      await phone.goto('/earnings');
      expect(number(await textOf(phone, '#earned dd')) > 0, await textOf(phone, '#earned'));
    }],

    ['code that does not compile says so', async () => {
      const broken = await submitForBids(client, { name: 'Broken', source: 'int main(void) { return x; }' }, 'hand');
      await bid(phone, broken, '6');
      await accept(client, '6');
      await says(client, '#job-state', /failed/);
      await says(client, '#reason', /compilation error/);
      await says(client, '#log-stderr', /undeclared/);
    }],

    ['sealed bids stay sealed, and the best one runs when the time is over', async () => {
      const sealed = await submitForBids(client, { name: 'Sealed', source: IN_C }, 'rule', async () => {
        await client.fill('#max_price', '20');
        await client.fill('#close_after_s', '12');
        await says(client, '#price', /20/);
      });
      await bid(phone, sealed, '4.75');
      await says(client, '#bids-words', /1 bid, under seal/);
      expect((await client.locator('#bid-rows').count()) === 0, 'a sealed bid is shown');
      await says(client, '#award', /4\.75/);
      await says(client, '#job-state', /succeeded/);
    }],

    ['a machine bids by its standing price', async () => {
      await phone.goto(machine());
      await phone.check('#price-own');
      await phone.fill('#base_micros', '1');
      await phone.fill('#core_minute_micros', '0,5');
      await phone.check('#automatic');
      await phone.locator('#save-ask').click();
      await phone.waitForSelector('#notice');
      expect((await phone.inputValue('#core_minute_micros')) === '0.5', 'the price was not kept');
      const asked = await submitForBids(client, { name: 'Asked', source: IN_C }, 'hand');
      await says(client, '#bid-rows', /by its ask/);
      await accept(client, '1.5');
      await says(client, '#job-state', /succeeded/);
      made(`/jobs/${asked}`);
      await phone.goto(machine());
      await phone.check('#price-formula');
      await phone.uncheck('#automatic');
      await phone.locator('#save-ask').click();
      await phone.waitForSelector('#notice');
    }],

    ['prices are shown with their history', async () => {
      await client.goto('/market/prices');
      expect(number(await textOf(client, '#core-hour')) > 0, await textOf(client, '#core-hour'));
      expect((await client.locator('.chart-line').first().getAttribute('d')).startsWith('M'), 'no line');
      await openPart(client, 'price-rows');
      expect((await client.locator('#price-rows tbody tr').count()) > 0, 'no figures');
    }],

    ['the owner takes the machine back from the phone, and gives it again', async () => {
      await phone.goto(machine());
      await phone.locator('#by-hand button', { hasText: 'Pause for an hour' }).click();
      await says(phone, '#machine-state', /not shared/);
      await says(phone, '#why', /paused by hand/);
      await says(phone, '#by-hand-words', /paused by hand until/);
      await submitJob(client, { kind: 'shell', name: 'later', source: 'echo later', needs: SMALL });
      await sendJob(client);
      await says(client, '#waiting', /\S/);
      await phone.locator('#by-hand button', { hasText: 'Follow the rules' }).click();
      await says(client, '#job-state', /succeeded/);
      await says(phone, '#machine-state', /online/);
    }],

    ['what runs when its owner pauses is handed back, and goes on from what it has saved', async () => {
      await submitJob(client, { kind: 'shell', name: 'counts', source: COUNTS, needs: SMALL });
      await sendJob(client);
      const counting = idOf(client);
      await says(client, '#log-stdout', /at 2/);
      await phone.goto(machine());
      await phone.locator('#by-hand button', { hasText: /^Pause$/ }).click();
      await says(phone, '#machine-state', /not shared/);
      await says(client, '#waiting', /\S/);
      await says(client, '#tasks', /goes on from/);
      await phone.locator('#by-hand button', { hasText: 'Follow the rules' }).click();
      await says(client, '#job-state', /succeeded/);
      await client.goto(`/jobs/${counting}`);
      const log = await textOf(client, '#log-stdout');
      expect(/goes on at [1-9]/.test(log) && /at 8/.test(log), log);
      made(`/jobs/${counting}`);
      await phone.goto(machine());
      expect(/1 run taken back/.test(await textOf(phone, '#record')), await textOf(phone, '#record'));
    }],

    ['a bid is placed and withdrawn without JavaScript', async () => {
      const open = await submitForBids(client, { name: 'Still open', source: IN_C }, 'hand');
      const plain = await openContext(browser, {
        viewport: PHONE, javaScriptEnabled: false, storageState: await context.storageState(),
      });
      const reader = await plain.newPage();
      await bid(reader, open, '3');
      expect(/3 credits/.test(await textOf(reader, `#bid-${worker}`)), await textOf(reader, '#own-bids'));
      await reader.locator(`#bid-${worker} button`).click();
      await reader.waitForSelector('#notice');
      expect((await reader.locator(`#bid-${worker}`).count()) === 0, 'the bid still stands');
      await bid(reader, open, '2');
      await plain.close();
      made('/market', '/market?fits=false', `/market/jobs/${open}`, '/market/bids', '/market/mine', '/market/prices',
        `/jobs/${open}`, machine(), '/earnings', '/submit?sale=rule');
    }],

    ['hours and other rules survive being looked at', async () => {
      await page.goto(machine());
      await page.fill('#cores', '');
      await page.fill('#ram_mib', '');
      await openPart(page, 'hours-part');
      for (let day = 0; day < 7; day += 1) {
        await page.check(`[name="day.0.${day}"]`);
      }
      await page.locator('[data-zone-name]').click();
      expect((await page.inputValue('#zone')) !== '', 'this browser has no time zone');
      await openPart(page, 'senses-part');
      await page.fill('#until', '2099-12-31T10:00');
      await page.locator('#save-rules').click();
      await page.waitForSelector('#notice');
      expect(await page.isChecked('[name="day.0.6"]'), 'the hours were not kept');
      expect((await page.inputValue('#until')) === '2099-12-31T10:00', await page.inputValue('#until'));
      await says(page, '#machine-state', /online/);
    }],
  ];
}
