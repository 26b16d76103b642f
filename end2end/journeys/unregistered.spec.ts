// Devices that nobody has registered: counted, listed, with a page of their own; and the tables of the pipeline, live.
import { expect, openLive, post, reject, test } from './fixtures.ts';

test('an unregistered device appears on the open page and leads to its readings', async ({ page, context }) => {
  const device = 'bekas-gudang-7';
  const pipeline = await context.newPage();
  await openLive(page, '/regions/unassigned');
  await openLive(pipeline, '/pipeline');
  await post(device, 5.5);
  await expect(page.getByRole('heading', { level: 1 })).toContainText(/^[1-9]\d* alat belum terdaftar/);
  await expect(page.getByRole('link', { name: device })).toBeVisible();
  await expect(pipeline.locator('main').getByRole('link', { name: device })).toBeVisible();
  await page.getByRole('link', { name: device }).click();
  await expect(page).toHaveURL(`/devices/${device}`);
  await page.locator('header.bar .crumbs a[href="/regions/unassigned"]').click();
  await expect(page.getByRole('link', { name: device })).toBeVisible();
});

test('a row belongs to one device or record, whatever comes above it', async ({ page }) => {
  await openLive(page, '/pipeline');
  const mark = Date.now();
  for (const { section, sent } of [
    { section: 'unregistered', sent: (device: string) => post(device, 5) },
    { section: 'dead-letters', sent: (device: string) => reject(device, 900) },
  ]) {
    const rows = page.locator(`section[aria-labelledby="${section}"]`).locator('tbody tr, li');
    const [first, second] = ['atas', 'bawah'].map((name) => `${section}-${name}-${mark}`);
    await sent(first);
    const row = rows.filter({ hasText: first });
    await expect(row).toHaveCount(1);
    const link = await row.getByRole('link').elementHandle();
    const target = await link!.getAttribute('href');
    await sent(second);
    await expect(rows.filter({ hasText: second })).toHaveCount(1);
    // The very element that a finger is on its way to: it has moved down, it has not become another row's.
    expect(await link!.getAttribute('href')).toBe(target);
    expect(await link!.evaluate((element) => element.isConnected)).toBe(true);
  }
});

test('the tables of the pipeline show what came in, without a reload', async ({ page }) => {
  await openLive(page, '/pipeline');
  const letters = page.locator('section[aria-labelledby="dead-letters"]');
  await reject('P321701-1-F1', 'tidak terbaca');
  await expect(letters).toContainText('tidak terbaca');
  const received = page.locator('section[aria-labelledby="topics"] tfoot td').first();
  const shown = async () => Number((await received.textContent())!.replaceAll('.', ''));
  const before = await shown();
  await post('P310101-1-F1', 4.4);
  await expect.poll(shown).toBeGreaterThan(before);
});
