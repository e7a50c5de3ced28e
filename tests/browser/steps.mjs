// What both scripts share: a browser, steps that are told one by one, and a login.
// The environment says where the dashboard is: see `xtask/src/browser.rs`.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const url = process.env.DASHBOARD_URL;
export const owner = { name: process.env.OWNER_NAME, password: process.env.OWNER_PASSWORD };
export const code = process.env.APPROVAL_CODE;
export const pictures = process.env.PICTURES;

// Long enough for a busy machine; a step ends as soon as what it waits for is there.
const LIMIT_MS = 30_000;

export async function openBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: [
      // The test runs as root in containers, where Chromium's own sandbox cannot.
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

export async function openContext(browser, options = {}) {
  const context = await browser.newContext({ baseURL: url, ...options });
  context.setDefaultTimeout(LIMIT_MS);
  return context;
}

// Runs steps in order; those after a failed one are not tried, since each builds on the last. A step
// that yields a text could not be tried here, and the text says why.
export async function runSteps(steps, page) {
  let failed = false;
  for (const [name, step] of steps) {
    if (failed) {
      console.log(`skipped ${name}: a step before it failed`);
      continue;
    }
    try {
      const why = await step();
      console.log(why ? `skipped ${name}: ${why}` : `ok ${name}`);
    } catch (error) {
      failed = true;
      console.log(`FAILED ${name}\n${error.stack ?? error}`);
      await showWhereItStands(page());
    }
  }
  return failed ? 1 : 0;
}

async function showWhereItStands(page) {
  const picture = join(pictures, 'failed.png');
  await mkdir(pictures, { recursive: true });
  await page.screenshot({ path: picture, fullPage: true }).catch(() => {});
  console.log(`at ${page.url()}, see ${picture}`);
}

export function expect(condition, message) {
  if (!condition) {
    throw new Error(message);
  }
}

export async function textOf(page, selector) {
  return (await page.locator(selector).first().innerText()).trim();
}

// Opens a part of a page that is folded away, by its id.
export async function openPart(page, id) {
  const part = page.locator(`#${id}`);
  if ((await part.getAttribute('open')) === null) {
    await part.locator('summary').first().click();
  }
}

// The button that sends the form in which a field stands.
export async function send(page, field) {
  await page.locator('form', { has: page.locator(field) }).locator('[type=submit]').first().click();
}

export async function register(page, { name, password }) {
  await page.goto('/register');
  await page.fill('[name=name]', name);
  await page.fill('[name=password]', password);
  await send(page, '[name=password]');
  await page.waitForSelector('#balance');
}

export async function logIn(page, { name, password }) {
  await page.goto('/login');
  await page.fill('[name=name]', name);
  await page.fill('[name=password]', password);
  await send(page, '[name=password]');
  await page.waitForSelector('#balance');
}

export async function approveWorker(page) {
  await page.goto('/workers/approve');
  await page.fill('#approve-code', code);
  await send(page, '#approve-code');
  await page.waitForURL(/\/workers(\?|$)/);
}

export async function submitJob(page, job) {
  await page.goto('/submit');
  await page.locator(`label[for=kind-${job.kind}]`).click();
  await page.fill('[name=name]', job.name);
  await page.fill('[name=source]', job.source);
  for (const [field, value] of Object.entries(job.needs ?? {})) {
    await page.fill(`[name=${field}]`, String(value));
  }
}

export async function sendJob(page) {
  await send(page, '[name=source]');
  await page.waitForURL(/\/jobs\/\d+/);
}
