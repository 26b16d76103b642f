// What strangers choose stays text: names of devices and sources that look like markup go in by the public API, and every page and file
// that shows them is opened in a real browser. Dialogs, refused scripts and errors would fail the journey (fixtures.ts).
import { expect, languages, openLive, test } from './fixtures.ts';

const payloads = [
  '<img src=x onerror=alert(1)>',
  '"><svg onload=alert(2)>',
  '</script><script>alert(3)</script>',
  'javascript:alert(4)',
  "'-alert(5)-'",
  '{{7*7}}<b id=planted>',
];

/** Sends records under those names: of each device readings, and one that is rejected. */
async function sendAll(): Promise<void> {
  const now = Date.now();
  const records = payloads.flatMap((name, index) => [
    ...[40, 30, 20, 10].map((age) => ({
      event_id: `${name}-${age}-${now}`,
      topic: 'temperature',
      source: name,
      payload: { device_id: name, ts: now - age * 60_000, temperature: 4 + index },
    })),
    { event_id: `${name}-bad-${now}`, topic: 'temperature', source: name, payload: { device_id: name, ts: now, temperature: 900 } },
    { event_id: `${name}-${now}`, topic: name, source: name, payload: { device_id: name, ts: now, temperature: 4 } },
  ]);
  const answer = await fetch(new URL('/ingest', process.env.RANTAI_URL), {
    method: 'POST',
    headers: { authorization: `Bearer ${process.env.RANTAI_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify(records),
  });
  expect(await answer.json()).toMatchObject({ accepted: 4 * payloads.length, rejected: 2 * payloads.length });
}

test('names that are markup stay text on every page and in every file', async ({ page, request }) => {
  test.setTimeout(180_000);
  await sendAll();
  page.on('dialog', (dialog) => {
    throw new Error(`a dialog: ${dialog.message()}`);
  });
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => console.error(`refused: ${event.violatedDirective} ${event.blockedURI}`));
  });
  const letters = await (await request.get('/api/v1/dead-letters?format=ndjson')).text();
  const positions = letters.trim().split('\n').map((line) => JSON.parse(line));
  const devices = payloads.map((name) => `/devices/${encodeURIComponent(name)}`);
  const paths = [
    '/',
    '/pipeline',
    '/regions/unassigned',
    ...devices,
    `${devices[0]}?span=week`,
    `/search?q=${encodeURIComponent(payloads[1])}`,
    ...positions.filter(({ raw }) => raw.includes('alert(')).slice(0, 12).map(({ position }) => `/pipeline/dead-letters/${position}`),
  ];
  for (const path of paths) {
    await page.goto(path);
    // Until the bundle has drawn what it draws, where there is a stream.
    if (await page.locator('.live').count()) await expect(page.locator('.live')).toHaveAttribute('data-state', /live|paused/);
    const planted = page.locator('#planted, img[src="x"], svg[onload], [onerror], a[href^="javascript:" i]');
    await expect(planted, path).toHaveCount(0);
  }
  for (const [index, path] of devices.entries()) {
    await page.goto(path);
    await expect(page.getByRole('heading', { level: 1 })).toContainText(payloads[index]);
    expect(await page.title()).toContain(payloads[index]);
  }
  for (const lang of languages) {
    for (const path of devices) {
      const file = await request.get(`${path}/chart.svg?lang=${lang}`);
      expect(file.status()).toBe(200);
      const disposition = file.headers()['content-disposition'];
      expect(disposition).toMatch(/^attachment; filename="[\w.-]+\.svg"$/);
      const svg = await file.text();
      expect(svg).not.toMatch(/<(script|img|b |foreignObject)/i);
      // It is one drawing, whatever it names.
      const root = await page.evaluate((text) => {
        const drawn = new DOMParser().parseFromString(text, 'image/svg+xml');
        return [drawn.documentElement.localName, drawn.querySelectorAll('parsererror, script, a, [onload], [onerror]').length];
      }, svg);
      expect(root).toEqual(['svg', 0]);
    }
  }
});

test('markup that comes while a page is open stays text too', async ({ page }) => {
  page.on('dialog', (dialog) => {
    throw new Error(`a dialog: ${dialog.message()}`);
  });
  await openLive(page, '/pipeline');
  const mark = `<img src=x onerror=alert(6) id=planted>${Date.now()}`;
  const answer = await fetch(new URL('/ingest', process.env.RANTAI_URL), {
    method: 'POST',
    headers: { authorization: `Bearer ${process.env.RANTAI_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify([
      { device_id: mark, ts: Date.now(), temperature: 5 },
      { device_id: `${mark}-bad`, ts: Date.now(), temperature: 900 },
    ]),
  });
  expect(await answer.json()).toMatchObject({ accepted: 1, rejected: 1 });
  await expect(page.locator('section[aria-labelledby="unregistered"]')).toContainText(mark);
  await expect(page.locator('section[aria-labelledby="dead-letters"]')).toContainText('onerror');
  await expect(page.locator('#planted')).toHaveCount(0);
});
