// A page that is open while its past is being filled in, as after an outage: its pictures of the day follow without a reload.
import { type Reading, send } from '../readings.ts';
import { expect, openLive, test } from './fixtures.ts';

const minute = 60_000;

/** A day of a device that nobody had heard of. */
function aDayOf(device_id: string): Reading[] {
  const now = Date.now();
  return Array.from({ length: 288 }, (_, i) => ({ device_id, ts: now - (288 - i) * 5 * minute, temperature: i < 120 ? 9.1 : 4.6 }));
}

test('a place that is filled in gets its hours and the small lines of its table', async ({ page }) => {
  await openLive(page, '/regions/33.01');
  await page.evaluate(() => document.documentElement.setAttribute('data-mark', 'same page'));
  const row = page.locator('tr', { has: page.locator('a[href="/regions/33.01.01"]') });
  await expect(row.locator('.spark .series')).toHaveCount(0);
  await send(aDayOf('P330101-1-F1'));
  await expect(row.locator('.spark .series')).toHaveCount(1);
  const hours = page.locator('section[aria-labelledby="hours"]');
  // The day begins within its first hour at the latest.
  const values = () => hours.locator('tbody td').allTextContents();
  await expect.poll(async () => (await values()).filter((value) => value === '–').length).toBeLessThanOrEqual(1);
  expect((await values()).filter((value) => Number(value) > 0).length).toBeGreaterThanOrEqual(5);
  await expect(page.locator('html')).toHaveAttribute('data-mark', 'same page');
});

test('a facility that is filled in gets the curve of its day', async ({ page }) => {
  await openLive(page, '/facilities/P330201-1');
  await page.evaluate(() => document.documentElement.setAttribute('data-mark', 'same page'));
  const curve = page.locator('a[href="/devices/P330201-1-F1"] .spark');
  await expect(curve.locator('path')).toHaveCount(0);
  await send(aDayOf('P330201-1-F1'));
  const length = () => curve.locator('path').evaluateAll((all) => all.map((path) => path.getAttribute('d')).join('').length);
  // A single reading is a dot of some ten characters.
  await expect.poll(length).toBeGreaterThan(150);
  await expect(page.locator('html')).toHaveAttribute('data-mark', 'same page');
});
