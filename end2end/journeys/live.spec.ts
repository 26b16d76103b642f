// A reading is posted to the public API and shows on open pages, without a reload.
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { type Page, expect, live, onTopic, openLive, place, post, test, texts } from './fixtures.ts';

/** Leaves a mark that only a reload would wipe out. */
async function mark(page: Page): Promise<() => Promise<void>> {
  await page.evaluate(() => document.documentElement.setAttribute('data-mark', 'same page'));
  return () => expect(page.locator('html')).toHaveAttribute('data-mark', 'same page');
}

test('a reading shows on the page of its device', async ({ page }) => {
  await openLive(page, `/devices/${place.device}`);
  const samePage = await mark(page);
  await post(place.device, 5.7);
  await expect(page.locator('main')).toContainText('5,7');
  await post(place.device, 3.3);
  await expect(onTopic(page, `device:${place.device}`).filter({ hasText: '3,3' }).first()).toBeVisible();
  await samePage();
});

test('a refrigerator that gets too warm changes its facility, its district and the country', async ({ page, context }) => {
  const device = 'P321601-1-F1';
  await post(device, 4.5);
  const facility = page;
  const district = await context.newPage();
  const country = await context.newPage();
  await openLive(facility, '/facilities/P321601-1');
  await openLive(district, '/regions/32.16.01');
  await openLive(country, '/');
  const before = { district: await texts(onTopic(district, 'region:32.16.01')), country: await texts(onTopic(country, 'region:ID')) };
  const samePages = await Promise.all([facility, district, country].map(mark));

  await post(device, 11.2);
  await expect(onTopic(facility, 'facility:P321601-1').filter({ hasText: '11,2' }).first()).toBeVisible();
  await expect.poll(() => texts(onTopic(district, 'region:32.16.01'))).not.toEqual(before.district);
  await expect.poll(() => texts(onTopic(country, 'region:ID'))).not.toEqual(before.country);
  for (const samePage of samePages) await samePage();
});

test('a page that lost its connection says so, and catches up', async ({ page, complaints }) => {
  const device = 'P321602-1-F1';
  await post(device, 4.1);
  const line = await aLine();
  await openLive(page, `${line.url}/devices/${device}`);
  const samePage = await mark(page);
  line.cut();
  await expect(page.locator('.live')).toHaveAttribute('data-state', 'reconnecting');
  await post(device, 6.6);
  await line.mend();
  await live(page);
  await expect(onTopic(page, `device:${device}`).filter({ hasText: '6,6' }).first()).toBeVisible();
  await samePage();
  await page.close();
  line.cut();
  // Being cut off is what this journey is about.
  complaints.splice(0, complaints.length, ...complaints.filter((complaint) => !/ERR_(CONNECTION|EMPTY|INCOMPLETE)/.test(complaint)));
});

/** A line to the server that can be cut, as a mobile network does: open connections break, new ones are refused. */
async function aLine() {
  const server = new URL(process.env.RANTAI_URL!);
  const open = new Set<Socket>();
  const line = createServer((browser) => {
    const far = connect(Number(server.port), server.hostname);
    for (const [end, other] of [[browser, far], [far, browser]] as const) {
      open.add(end);
      end.pipe(other);
      end.on('error', () => other.destroy());
      end.on('close', () => open.delete(end));
    }
  });
  const listen = (port: number) => new Promise<void>((done) => line.listen(port, '127.0.0.1', done));
  await listen(0);
  const { port } = line.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    cut: () => {
      line.close();
      for (const socket of open) socket.destroy();
    },
    mend: () => listen(port),
  };
}

test('what a live page shows stands there after a reload too', async ({ page }) => {
  const device = 'P321603-1-F1';
  await post(device, 4.2);
  await openLive(page, `/devices/${device}`);
  await post(device, 7.3);
  await expect(page.locator('main')).toContainText('7,3');
  await page.reload();
  await expect(page.locator('main')).toContainText('7,3');
});

test('a window with several readings shows what a reload shows', async ({ page }) => {
  const device = 'P321604-1-F1';
  // Two readings of one ten-second window, far enough from its end, and before that which is there first.
  const start = Math.floor(Date.now() / 10_000) * 10_000 - 20_000;
  await post(device, 4);
  await openLive(page, `/devices/${device}`);
  const table = page.locator('section[aria-labelledby="readings"] tbody');
  const rows = () => texts(table.locator('tr'));
  await post(device, 5, start + 1_000);
  await post(device, 7, start + 2_000);
  await expect.poll(rows).toContainEqual(expect.stringContaining('6,0'));
  // An older one, in time for its window, that the stream says nothing about.
  await post(device, 6.6, start - 30_000);
  await expect.poll(rows).toContainEqual(expect.stringContaining('6,6'));
  // Without the date: that of yesterday is told from midnight on, which may have come between.
  const timed = async () => (await rows()).map((row) => row.replace(/^.*, (?=\d\d\.\d\d)/, ''));
  const live = await timed();
  await page.reload();
  expect(await timed()).toEqual(live);
});

test('what is to be done now stays with its fridge while another one gets farther out', async ({ page }) => {
  const [first, second] = ['R3216-1-F1', 'R3216-1-F2'];
  await post(first, 12);
  await post(second, 11);
  await openLive(page, '/facilities/R3216-1');
  const chart = page.locator(`.todo a[href="/devices/${first}"]`);
  await expect(chart).toHaveCount(1);
  await post(second, 14.3);
  await expect(page.locator('.units')).toContainText('14,3');
  await expect(chart).toHaveCount(1);
});
