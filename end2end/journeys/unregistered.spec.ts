// Devices that nobody has registered: counted, listed, with a page of their own; and the tables of the pipeline, live.
import { expect, openLive, post, test } from './fixtures.ts';

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

test('the tables of the pipeline show what came in, without a reload', async ({ page }) => {
  await openLive(page, '/pipeline');
  const letters = page.locator('section[aria-labelledby="dead-letters"]');
  await fetch(new URL('/ingest', process.env.RANTAI_URL), {
    method: 'POST',
    headers: { authorization: `Bearer ${process.env.RANTAI_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ device_id: 'P321701-1-F1', ts: Date.now(), temperature: 'tidak terbaca' }),
  });
  await expect(letters).toContainText('tidak terbaca');
  const received = page.locator('section[aria-labelledby="topics"] tfoot td').first();
  const shown = async () => Number((await received.textContent())!.replaceAll('.', ''));
  const before = await shown();
  await post('P310101-1-F1', 4.4);
  await expect.poll(shown).toBeGreaterThan(before);
});
