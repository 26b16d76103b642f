// The chart of a device: its cursor, by pointer and by keys, and the files it can be saved as.
import { readFile } from 'node:fs/promises';
import { send } from '../readings.ts';
import { type Page, expect, openLive, post, test, texts } from './fixtures.ts';

const minute = 60_000;
const hour = 60 * minute;

/** Sends readings of a device, told by how long before `now` they were taken, oldest first. */
async function sendAged(device_id: string, now: number, readings: [age: number, temperature: number][]): Promise<void> {
  await send(readings.map(([age, temperature]) => ({ device_id, ts: now - age, temperature })));
}

/** The time of the point that stands for a reading, the start of its ten seconds, in WIB and in UTC. */
function timesOf(ts: number): string[] {
  const at = new Date(Math.floor(ts / 10_000) * 10_000);
  const clock = at.toLocaleTimeString('en-GB', { timeZone: 'Asia/Jakarta', hour: '2-digit', minute: '2-digit' });
  return [`${clock}\u{a0}WIB`, `${at.toISOString().slice(0, 19).replace('T', ' ')} UTC`];
}

/** Opens the page of a device and waits until the browser draws its chart; the cursor, and what it shows. */
async function openChart(page: Page, device: string) {
  await openLive(page, `/devices/${device}?lang=en`);
  await expect(page.locator('canvas.chart-canvas')).toBeVisible();
  const cursor = page.getByRole('slider', { name: 'Cursor on the chart' });
  const shown = page.locator('.chart-stage [data-part=cursor]');
  return {
    cursor,
    shown,
    /** It stands on the reading of that temperature and time, for those who see it and those who hear it. */
    standsOn: async (temperature: string, ts: number) => {
      await expect(cursor).toHaveAttribute('aria-valuetext', new RegExp(`^${temperature.replace('.', '\\.')}\u{a0}°C`));
      for (const time of timesOf(ts)) {
        await expect(shown).toContainText(time);
        await expect(cursor).toHaveAttribute('aria-valuetext', new RegExp(time));
      }
      await expect(shown).toContainText(`${temperature}\u{a0}°C`);
    },
  };
}

test('under the pointer the chart tells value and time of the nearest reading', async ({ page }) => {
  const device = 'P320407-1-F1';
  const now = Date.now();
  await sendAged(device, now, [[18 * hour, 4.1], [12 * hour, 5.2], [6 * hour, 6.3]]);
  const { cursor, shown, standsOn } = await openChart(page, device);
  const { width, height } = (await cursor.boundingBox())!;
  const line = async () => Number.parseFloat((await shown.locator('line').getAttribute('x1'))!);

  // Two hours beside the reading in the middle: the line stands on the reading, not under the pointer.
  await cursor.hover({ position: { x: (width * 14) / 24, y: height / 2 } });
  await standsOn('5.2', now - 12 * hour);
  expect(await line()).toBeCloseTo(50, 0);
  await cursor.hover({ position: { x: (width * 17) / 24, y: height / 2 } });
  await standsOn('6.3', now - 6 * hour);
  expect(await line()).toBeCloseTo(75, 0);
  await page.mouse.move(0, 0);
  await expect(shown).toBeEmpty();
});

test('by keys the cursor goes from reading to reading', async ({ page }) => {
  const device = 'P320408-1-F1';
  const now = Date.now();
  await sendAged(device, now, [[4 * hour, 3.1], [3 * hour, 4.2], [2 * hour, 5.3], [hour, 6.4]]);
  const { cursor, shown, standsOn } = await openChart(page, device);
  await expect(shown).toBeEmpty();
  await cursor.focus();
  await standsOn('6.4', now - hour);
  for (const [key, temperature, age] of [
    ['ArrowLeft', '5.3', 2 * hour],
    ['ArrowLeft', '4.2', 3 * hour],
    ['ArrowRight', '5.3', 2 * hour],
    ['Home', '3.1', 4 * hour],
    ['ArrowLeft', '3.1', 4 * hour],
    ['ArrowRight', '4.2', 3 * hour],
    ['End', '6.4', hour],
    ['ArrowRight', '6.4', hour],
  ] as const) {
    await cursor.press(key);
    await standsOn(temperature, now - age);
  }
  await expect(cursor).toHaveAttribute('aria-valuenow', '3');
  await expect(cursor).toHaveAttribute('aria-valuemax', '3');
  await cursor.press('Escape');
  await expect(shown).toBeEmpty();
  await expect(cursor, 'it stands nowhere').not.toHaveAttribute('aria-valuetext');
});

test('the cursor stays on its reading while others come and go', async ({ page }) => {
  const device = 'P320409-1-F1';
  const now = Date.now();
  // The first one leaves the chart at its left end when the newest is three minutes ahead, as a clock may be.
  await sendAged(device, now, [[24 * hour - 2 * minute, 3.1], [3 * hour, 4.2], [2 * hour, 5.3]]);
  const { cursor, standsOn } = await openChart(page, device);
  const rows = page.locator('section[aria-labelledby="readings"] tbody tr');
  await cursor.focus();
  await cursor.press('ArrowLeft');
  await standsOn('4.2', now - 3 * hour);
  await expect(cursor).toHaveAttribute('aria-valuenow', '1');
  const said = await cursor.getAttribute('aria-valuetext');

  await post(device, 6.4, now + 3 * minute);
  await expect(rows.first()).toContainText('6.4');
  await expect(rows.filter({ hasText: '3.1' })).toHaveCount(0);
  // It is the first reading now, and the same.
  await expect(cursor).toHaveAttribute('aria-valuenow', '0');
  expect(await cursor.getAttribute('aria-valuetext')).toBe(said);
  await standsOn('4.2', now - 3 * hour);
  await cursor.press('ArrowRight');
  await standsOn('5.3', now - 2 * hour);
});

test('the cursor stays on the newest reading while its ten seconds get another one', async ({ page }) => {
  const device = 'P320412-1-F1';
  const start = Math.floor(Date.now() / 10_000) * 10_000 - 20_000;
  await sendAged(device, start, [[10 * minute, 4.1], [-1_000, 5.1]]);
  const { cursor, standsOn } = await openChart(page, device);
  await cursor.focus();
  await standsOn('5.1', start);
  await post(device, 7.1, start + 2_000);
  await standsOn('6.1', start);
});

/** What a link or button of the chart saves: its name and its bytes. */
async function saved(page: Page, act: () => Promise<void>): Promise<{ name: string; bytes: Buffer }> {
  const [download] = await Promise.all([page.waitForEvent('download'), act()]);
  return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
}

test('the CSV of a device holds what its table shows, also what came since the page was opened', async ({ page }) => {
  const device = 'P320410-1-F1';
  const now = Date.now();
  await sendAged(device, now, [[3 * hour, 4.1], [2 * hour, 9.4], [hour, -0.8]]);
  await openChart(page, device);
  const table = page.locator('section[aria-labelledby="readings"] tbody tr');
  await post(device, 6.3, now + minute);
  await expect(table).toHaveCount(4);

  const { bytes } = await saved(page, () => page.getByRole('link', { name: 'CSV', exact: true }).click());
  const [header, ...lines] = bytes.toString('utf8').trimEnd().split('\r\n');
  const columns = header.split(',');
  expect(columns).toEqual(expect.arrayContaining(['device_id', 'window_start', 'window_end', 'count', 'avg_temperature']));
  const inFile = lines.map((line) => {
    const row = Object.fromEntries(line.split(',').map((cell, index) => [columns[index], cell]));
    expect(row.device_id).toBe(device);
    return `${new Date(row.window_start).toISOString()} ${Number(row.avg_temperature).toFixed(1)}`;
  });
  const times = await table.locator('time').evaluateAll((all) => all.map((time) => new Date(time.getAttribute('datetime')!).toISOString()));
  const values = await texts(table.locator('td:nth-of-type(1)'));
  const inTable = times.map((time, index) => `${time} ${values[index].replace('−', '-')}`);
  // The newest stands at the top of the table and at the end of the file.
  expect(inFile).toEqual(inTable.reverse());
  expect(inFile.map((row) => row.split(' ')[1])).toEqual(['4.1', '9.4', '-0.8', '6.3']);
});

test('the chart is saved as SVG and as PNG', async ({ page }) => {
  const device = 'P320411-1-F1';
  await sendAged(device, Date.now(), [[15 * minute, 4.1], [10 * minute, 9.4], [5 * minute, 5.2]]);
  await openChart(page, device);
  const name = (await page.getByRole('heading', { level: 1 }).textContent())!;

  const svg = await saved(page, () => page.getByRole('link', { name: 'SVG', exact: true }).click());
  expect(svg.name).toMatch(new RegExp(`^${device}-day-\\d{8}-\\d{4}\\.svg$`));
  const picture = await page.evaluate((text) => {
    const { documentElement: root } = new DOMParser().parseFromString(text, 'image/svg+xml');
    return { root: root.nodeName, title: root.querySelector('title')?.textContent, text: root.textContent };
  }, svg.bytes.toString('utf8'));
  expect(picture).toMatchObject({ root: 'svg', title: expect.stringContaining(name), text: expect.stringContaining('peak 9.4\u{a0}°C') });

  const png = await saved(page, () => page.getByRole('link', { name: 'PNG', exact: true }).click());
  expect(png.name).toBe(`${device}-day.png`);
  expect(sizeOf(png.bytes)).toEqual([2400, 840]);
});

/** Width and height of a PNG. */
function sizeOf(bytes: Buffer): number[] {
  expect(bytes.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n');
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}

test('the charts of a place have a cursor, by pointer and by keys', async ({ page }) => {
  const now = Date.now();
  await sendAged('P320413-1-F1', now, [[0, 4.6]]);
  await openLive(page, '/regions/32.04.13?lang=en');
  const chart = page.locator('section[aria-labelledby=temperatures]');
  const cursor = chart.getByRole('slider', { name: 'Cursor on the chart' });
  const shown = chart.locator('.chart-tip');
  const { width, height } = (await cursor.boundingBox())!;
  // The fifteenth of thirty columns: 4.5 to 5 degrees.
  await cursor.hover({ position: { x: (width * 14.6) / 30, y: height / 2 } });
  await expect(shown).toContainText(/4\.5 – 5\.0\s*1/);
  expect(await shown.boundingBox(), 'over the chart').toEqual(await chart.getByRole('img').boundingBox());
  await page.mouse.move(0, 0);
  await expect(shown).toBeEmpty();

  await cursor.focus();
  await cursor.press('End');
  await expect(cursor).toHaveAttribute('aria-valuetext', '≥ 12.0: 0');
  for (let column = 29; column > 23; column -= 1) await cursor.press('ArrowLeft');
  await expect(cursor).toHaveAttribute('aria-valuetext', '9.0 – 9.5: 0');
  // What comes in while it stands there is told at once.
  await post('P320413-1-F1', 9.2, now + minute);
  await expect(cursor).toHaveAttribute('aria-valuetext', '9.0 – 9.5: 1');
  await expect(shown).toContainText(/9\.0 – 9\.5\s*1/);
  await cursor.press('Home');
  await expect(shown).toContainText('< −2.0');
  await cursor.press('Escape');
  await expect(shown).toBeEmpty();
  await expect(cursor, 'it stands nowhere').not.toHaveAttribute('aria-valuetext');
  await cursor.press('ArrowRight');
  await expect(cursor).toHaveAttribute('aria-valuetext', '−2.0 – −1.5: 0');
  await cursor.blur();
  await expect(shown).toBeEmpty();
  await expect(cursor).not.toHaveAttribute('aria-valuetext');

  const hours = page.locator('section[aria-labelledby=hours]').getByRole('slider');
  await hours.focus();
  await expect(hours).toHaveAttribute('aria-valuetext', /\d\d:00\sWIB: \d/);
  await hours.press('ArrowLeft');
  await expect(hours).toHaveValue('22');
});

test('the charts of a place are drawn on a canvas, anew when their figures change and in another theme', async ({ page }) => {
  const now = Date.now();
  await sendAged('P320415-1-F1', now, [[0, 4.6]]);
  await openLive(page, '/regions/32.04.15?lang=en');
  const chart = page.locator('section[aria-labelledby=temperatures]');
  const canvas = chart.locator('canvas');
  await expect(canvas).toBeVisible();
  await expect(chart.locator('[data-part=plot]'), 'the drawing of the server is gone').toHaveCount(0);
  const drawing = () => canvas.evaluate((element) => (element as HTMLCanvasElement).toDataURL());
  const first = await drawing();
  await post('P320415-1-F1', 9.2, now + minute);
  await expect.poll(drawing).not.toBe(first);
  const second = await drawing();
  await page.emulateMedia({ colorScheme: 'dark' });
  await expect.poll(drawing).not.toBe(second);
});

test('the charts of a place are saved as CSV, SVG and PNG', async ({ page }) => {
  await sendAged('P320414-1-F1', Date.now(), [[0, 4.6]]);
  await openLive(page, '/regions/32.04.14?lang=en');
  for (const [chart, rows] of [['temperatures', 30], ['hours', 1]] as const) {
    const panel = page.locator(`section[aria-labelledby=${chart}]`);
    const link = (name: string) => panel.getByRole('link', { name, exact: true });
    const svg = await saved(page, () => link('SVG').click());
    expect(svg.name).toMatch(new RegExp(`^32_04_14-${chart}-\\d{8}-\\d{4}\\.svg$`));
    const text = svg.bytes.toString('utf8');
    expect(text).toContain((await panel.getByRole('heading').textContent())!);
    const png = await saved(page, () => link('PNG').click());
    expect(png.name).toBe(`32.04.14-${chart}.png`);
    expect(sizeOf(png.bytes)).toEqual([1280, 584]);
    const csv = await saved(page, () => link('CSV').click());
    expect(csv.bytes.toString('utf8').trimEnd().split('\r\n')).toHaveLength(1 + rows);
  }
});
