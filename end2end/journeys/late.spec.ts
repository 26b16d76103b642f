// Late records: from the tile of the data flow to the list, to one of them and its bytes; also without script.
import { send } from '../readings.ts';
import { expect, languages, nothingFound, openLive, test } from './fixtures.ts';

// One after the other: the list shows the newest fifty, and the last of them sends more.
test.describe.configure({ mode: 'serial' });

/** Sends two hours of a device, then a reading of their middle: its window is done, so it is late. */
async function beLate(device_id: string, temperature: number): Promise<void> {
  const now = Date.now();
  await send(Array.from({ length: 24 }, (_, n) => ({ device_id, ts: now - (24 - n) * 300_000, temperature: 4.5 })));
  await send([{ device_id, ts: now - 12 * 300_000 + 1_000, temperature }]);
}

test('a late record is found from its tile, with its device, its window and its bytes', async ({ page }) => {
  await beLate('P820101-1-F1', 4.321);
  await openLive(page, '/pipeline?lang=id');
  await page.locator('.sum__term').filter({ hasText: 'terlambat' }).click();
  await expect(page).toHaveURL('/late');
  await expect(page.getByRole('heading', { level: 1 })).toContainText('rekaman terlambat');
  const row = page.locator('tbody tr').filter({ has: page.locator('a[href="/devices/P820101-1-F1"]') }).first();
  await expect(row).toContainText('WIT');
  await expect(row).toContainText('mnt');
  await row.locator('a[href^="/late/"]').click();
  await expect(page.locator('.panel h2').first()).toContainText('Terlambat');
  await expect(page.locator('pre')).toContainText('4.321');
  await page.locator('main a[href="/devices/P820101-1-F1"]').click();
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
});

for (const language of languages) {
  test(`axe finds nothing on the pages of late records: ${language}`, async ({ page }) => {
    await beLate(`terlambat-${language}`, 4.4);
    for (const path of [`/late?lang=${language}`, undefined]) {
      if (path) await page.goto(path);
      else await page.locator('a[href^="/late/"]').first().click();
      await nothingFound(page);
    }
  });
}

test.describe('without script', () => {
  test.use({ javaScriptEnabled: false });

  test('late records are listed page by page', async ({ page }) => {
    const device_id = 'terlambat-banyak';
    await beLate(device_id, 4.4);
    const middle = Date.now() - 12 * 300_000 - 60_000; // a minute beside the readings of five minutes: another value there is a conflict
    await send(Array.from({ length: 60 }, (_, n) => ({ device_id, ts: middle - 300_000 * (n % 6) - n, temperature: 4.6 })));
    await page.goto('/late?lang=en');
    const newest = await page.locator('tbody a[href^="/late/"]').first().getAttribute('href');
    await page.getByRole('link', { name: 'Older ones' }).click();
    await expect(page).toHaveURL(/\/late\?before=\d+/);
    await expect(page.locator(`tbody a[href="${newest}"]`)).toHaveCount(0);
    await page.getByRole('link', { name: 'To the newest' }).click();
    await expect(page.locator('tbody tr')).toHaveCount(50);
    const json = await page.request.get((await page.getByRole('link', { name: 'JSON', exact: true }).getAttribute('href'))!);
    expect((await json.json()).late.length).toBeGreaterThan(50);
  });
});
