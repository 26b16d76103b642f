// What every journey has: the server's address, a page on which the browser had nothing to complain about, and the words
// "live", "post a reading".
import AxeBuilder from '@axe-core/playwright';
import { test as base, expect, type Locator, type Page } from '@playwright/test';
import { type Reading, place, send } from '../readings.ts';

export { expect, place };
export type { Page, Reading };

/** Every kind of page. `live`: the stream changes it; `status`: where it is not 200. */
export const pages: { name: string; path: string; live: boolean; status?: number }[] = [
  { name: 'overview', path: '/', live: true },
  { name: 'province', path: `/regions/${place.province}`, live: true },
  { name: 'regency', path: `/regions/${place.regency}`, live: true },
  { name: 'district', path: `/regions/${place.district}`, live: true },
  { name: 'village', path: `/regions/${place.district}.2001`, live: true },
  { name: 'facility', path: `/facilities/${place.facility}`, live: true },
  { name: 'device', path: `/devices/${place.device}`, live: true },
  { name: 'week of a device', path: `/devices/${place.device}?span=week`, live: true },
  { name: 'month of a device', path: `/devices/${place.device}?span=month`, live: true },
  { name: 'unregistered device', path: `/devices/${place.unregistered}`, live: true },
  { name: 'unregistered devices', path: '/regions/unassigned', live: true },
  { name: 'pipeline', path: '/pipeline', live: true },
  { name: 'late records', path: '/late', live: false },
  { name: 'all unregistered devices', path: '/regions/unassigned/devices', live: false },
  { name: 'search', path: '/search?q=Lembang', live: false },
  { name: 'settings', path: '/settings', live: false },
  { name: 'documentation of the API', path: '/api/docs', live: false },
  { name: 'nothing', path: '/regions/99', live: false, status: 404 },
];

/** What may be answered with 404, which Chromium reports as an error of its own. */
const notThere = [...pages.filter(({ status }) => status === 404).map(({ path }) => path)];

export const languages = ['id', 'en'] as const;
export const themes = ['light', 'dark'] as const;

export const test = base.extend<{ complaints: string[] }>({
  baseURL: async ({}, use) => use(process.env.RANTAI_URL),

  // Whatever the browser complains about fails the journey: a refused style or script, a panic in the bundle, a missing file.
  complaints: [
    async ({ page }, use) => {
      const complaints: string[] = [];
      page.on('console', (message) => {
        const [address] = message.location().url.split('?');
        if (message.text().includes('404') && notThere.some((path) => address.endsWith(path))) return;
        if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()} (${page.url()})`);
      });
      page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message} (${page.url()})`));
      await use(complaints);
      expect(complaints, 'complaints of the browser').toEqual([]);
    },
    { auto: true },
  ],
});

/** WCAG 2.2 AA as far as a machine can tell: axe finds nothing on the page as it is. */
export async function nothingFound(page: Page): Promise<void> {
  // So it looks at one document, and needs no second page to put together what it found in several.
  expect(page.frames()).toHaveLength(1);
  // The one rule of WCAG 2.2 that axe leaves off by itself.
  const options = { resultTypes: ['violations' as const], rules: { 'target-size': { enabled: true } } };
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().options(options).analyze();
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
  expect(found).toEqual([]);
}

/** Opens a page and waits until the stream has made it live. */
export async function openLive(page: Page, path: string): Promise<void> {
  await page.goto(path);
  await live(page);
}

/** Waits until the page says that it is live. */
export async function live(page: Page): Promise<void> {
  await expect(page.locator('.live')).toHaveAttribute('data-state', 'live');
}

/** The elements of a page that the stream changes for this topic. */
export function onTopic(page: Page, topic: string): Locator {
  return page.locator(`[data-live="${topic}"]`);
}

/** What those elements say, each in one line. */
export function texts(elements: Locator): Promise<string[]> {
  return elements.evaluateAll((all) => all.map((element) => (element.textContent ?? '').replace(/\s+/g, ' ').trim()));
}

/** Sends one reading of a device, taken just now or at `ts`. */
export async function post(device_id: string, temperature: number, ts = Date.now()): Promise<void> {
  await send([{ device_id, ts, temperature, battery: 88, status: 'ok' }]);
}

/** Sends a reading that is rejected: what it says is no temperature, or none that can be. */
export async function reject(device_id: string, temperature: number | string): Promise<void> {
  const answer = await fetch(new URL('/ingest', process.env.RANTAI_URL), {
    method: 'POST',
    headers: { authorization: `Bearer ${process.env.RANTAI_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify([{ device_id, ts: Date.now(), temperature }]),
  });
  expect(await answer.json()).toMatchObject({ rejected: 1 });
}
