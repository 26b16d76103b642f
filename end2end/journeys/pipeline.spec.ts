// The page of the pipeline: how far the data has come, what the words mean, and what is missing of a device.
import { send } from '../readings.ts';
import { expect, onTopic, openLive, test, texts } from './fixtures.ts';

/** Sends records as they are, numbered or wrong. */
async function sendAny(records: object[]): Promise<{ accepted: number; rejected: number }> {
  const response = await fetch(new URL('/ingest', process.env.RANTAI_URL), {
    method: 'POST',
    headers: { authorization: `Bearer ${process.env.RANTAI_KEY}`, 'content-type': 'application/x-ndjson' },
    body: records.map((record) => JSON.stringify(record)).join('\n'),
  });
  return response.json();
}

test('late and rejected records are counted at once, and the watermark moves', async ({ page }) => {
  await openLive(page, '/pipeline');
  const watermark = page.locator('section[aria-labelledby="watermark"]');
  await expect(watermark.locator('tbody tr').first()).toContainText('Suhu');
  const of = async (term: string) => {
    const [text] = await texts(page.locator('.sum__term').filter({ hasText: term }).locator('b'));
    return Number(text.replaceAll('.', ''));
  };
  const before = { late: await of('terlambat'), rejected: await of('ditolak') };
  // A day of one device is complete; what comes two hours behind its newest reading is late.
  const now = Date.now();
  const day = Array.from({ length: 60 }, (_, n) => ({ device_id: 'P320405-1-F1', ts: now - (60 - n) * 300_000, temperature: 4.5 }));
  await send(day);
  await sendAny([
    { device_id: 'P320405-1-F1', ts: now - 40 * 300_000 + 1_000, temperature: 4.6 },
    { device_id: 'P320405-1-F1', ts: now, temperature: 900 },
  ]);
  await expect.poll(() => of('terlambat')).toBeGreaterThan(before.late);
  await expect.poll(() => of('ditolak')).toBeGreaterThan(before.rejected);
  await expect(page.locator('section[aria-labelledby="dead-letters"]')).toContainText('menunggu keputusan');
});

test('the books of the days add up to all that was received', async ({ page }) => {
  await send([{ device_id: 'P320405-1-F1', ts: Date.now(), temperature: 4.7 }]);
  await page.goto('/pipeline?lang=en');
  const days = page.locator('section[aria-labelledby="days"]');
  await expect(days.getByRole('columnheader').first()).toHaveText('Day (UTC)');
  const rows = (await days.locator('tbody tr, tfoot tr').allTextContents()).length;
  expect(rows).toBeGreaterThanOrEqual(2);
  // Both at one moment: records come in all the time.
  const [daily, all] = await days.evaluate((panel) =>
    ['tbody', 'tfoot'].map((part) =>
      [...panel.querySelectorAll(`${part} td:nth-of-type(1)`)].reduce((sum, cell) => sum + Number(cell.textContent!.replaceAll(',', '')), 0),
    ),
  );
  expect(daily).toBe(all);
});

test('each reason shows its newest record, and each source when it was last heard of', async ({ page }) => {
  const raw = `no JSON at all ${Date.now()}`;
  await fetch(new URL('/ingest', process.env.RANTAI_URL), {
    method: 'POST',
    headers: { authorization: `Bearer ${process.env.RANTAI_KEY}`, 'content-type': 'application/x-ndjson' },
    body: raw,
  });
  await page.goto('/pipeline?lang=en');
  const sources = page.locator('section[aria-labelledby="sources"]');
  await expect(sources.locator('tbody td:last-child').first()).toHaveText(/^\d+\s(s|min|h)/);
  const reason = page.locator('section[aria-labelledby="reasons"] tr').filter({ hasText: 'malformed_json' });
  await reason.getByRole('link', { name: 'newest' }).click();
  await expect(page.locator('pre, code').filter({ hasText: 'no JSON at all' }).first()).toBeVisible();
});

test('what waits and what is late are charts with files', async ({ page, request }) => {
  await openLive(page, '/pipeline?lang=en');
  for (const [chart, header, least] of [['lag', 'minute,records_waiting', 60], ['late', 'hour,received,late', 1]] as const) {
    const panel = page.locator(`section[aria-labelledby="${chart}"]`);
    await expect(panel.locator('canvas')).toBeVisible();
    const cursor = panel.getByRole('slider');
    await cursor.focus();
    await expect(cursor).toHaveAttribute('aria-valuetext', /\d\d:\d\d\sWIB: (\d|–)/);
    const csv = await request.get((await panel.getByRole('link', { name: 'CSV' }).getAttribute('href'))!);
    const lines = (await csv.text()).trim().split('\r\n');
    expect(lines[0]).toBe(header);
    expect(lines.length).toBeGreaterThan(least);
    const svg = await request.get((await panel.getByRole('link', { name: 'SVG' }).getAttribute('href'))!);
    expect(await svg.text()).toMatch(/^<svg xmlns/);
  }
  await expect(page.locator('section[aria-labelledby="delays"] dd').first()).toHaveText(/\d/);
});

test('a device says how many readings are missing, and between which times', async ({ page }) => {
  const device = 'P320406-1-F1';
  const now = Date.now();
  const numbered = (seq: number) => ({ device_id: device, ts: now - (20 - seq) * 60_000, temperature: 4.4, seq, boot_id: 1 });
  await openLive(page, `/devices/${device}?lang=en`);
  await expect(page.locator('section[aria-labelledby="missing"]')).toHaveCount(0);
  await sendAny([1, 2, 6, 8].map(numbered));
  const missing = onTopic(page, `device:${device}`).filter({ has: page.locator('#missing') });
  await expect(missing).toContainText('3 readings missing between');
  await expect(missing).toContainText('1 reading missing between');
  await sendAny([3, 4, 5].map(numbered));
  await expect(missing).not.toContainText('3 readings');
  await sendAny([numbered(7)]);
  await expect(missing).toHaveCount(0);
});

test.describe('without script', () => {
  test.use({ javaScriptEnabled: false });

  for (const [language, words] of [
    ['id', ['Setengah alat', 'Arti kata', 'Antrean (lag)']],
    ['en', ['Half of devices', 'What the words', 'Lag']],
  ] as const) {
    test(`the pipeline explains itself: ${language}`, async ({ page }) => {
      await page.goto(`/pipeline?lang=${language}`);
      for (const word of words) await expect(page.locator('main')).toContainText(word);
      await expect(page.locator('section[aria-labelledby="watermark"] time').first()).toBeVisible();
    });
  }
});
