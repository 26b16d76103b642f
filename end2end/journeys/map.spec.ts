// The map under fingers, mouse, wheel and keys: two fingers enlarge it, one moves it, a tap opens what lies there.
import { type CDPSession } from '@playwright/test';
import { type Page, expect, live, openLive, place, test } from './fixtures.ts';

test.use({ hasTouch: true, viewport: { width: 412, height: 860 } });

type Finger = { x: number; y: number };

/** Fingers go down, move together in steps from frame to frame, and go up. */
async function gesture(session: CDPSession, from: Finger[], to: Finger[], steps = 12): Promise<void> {
  const points = (part: number) =>
    from.map((start, id) => ({ id, x: start.x + (to[id].x - start.x) * part, y: start.y + (to[id].y - start.y) * part }));
  await session.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: points(0) });
  for (let step = 1; step <= steps; step += 1) {
    await session.send('Input.dispatchTouchEvent', { type: 'touchMove', touchPoints: points(step / steps) });
  }
  await session.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
}

/** What is seen: x, y, width, height in map units. */
async function view(page: Page): Promise<number[]> {
  return (await page.locator('.map-box > svg').getAttribute('viewBox'))!.split(' ').map(Number);
}

async function middle(page: Page): Promise<Finger> {
  const map = page.locator('.map-box > svg');
  await map.scrollIntoViewIfNeeded();
  await map.evaluate((element) => element.scrollIntoView({ block: 'center' }));
  const box = (await map.boundingBox())!;
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
}

test('two fingers enlarge the map, one moves it, and a tap on a province opens it', async ({ page }) => {
  await openLive(page, '/');
  const session = await page.context().newCDPSession(page);
  const { x, y } = await middle(page);
  const whole = await view(page);

  await gesture(session, [{ x: x - 20, y }, { x: x + 20, y }], [{ x: x - 100, y }, { x: x + 100, y }]);
  await expect.poll(async () => whole[2] / (await view(page))[2]).toBeGreaterThan(3);
  const near = await view(page);

  await gesture(session, [{ x, y }], [{ x: x - 80, y: y + 20 }]);
  await expect.poll(async () => (await view(page))[0]).toBeGreaterThan(near[0]);
  const moved = await view(page);
  expect(moved[2]).toBeCloseTo(near[2], 1);
  expect(moved[1]).toBeLessThan(near[1]);
  await expect(page).toHaveURL('/');

  await gesture(session, [{ x: x - 100, y }, { x: x + 100, y }], [{ x: x - 10, y }, { x: x + 10, y }]);
  await expect.poll(() => view(page)).toEqual(whole);
  const java = (await page.locator('.map a[data-code="61"] path').boundingBox())!;
  await page.touchscreen.tap(java.x + java.width / 2, java.y + java.height / 2);
  await expect(page).toHaveURL(/\/regions\/6/);
});

test('one finger on the whole map scrolls the page', async ({ page }) => {
  await openLive(page, '/');
  const session = await page.context().newCDPSession(page);
  const { x, y } = await middle(page);
  const [before, whole] = [await page.evaluate(() => scrollY), await view(page)];
  await gesture(session, [{ x, y }], [{ x, y: y - 150 }]);
  await expect.poll(() => page.evaluate(() => scrollY)).toBeGreaterThan(before + 60);
  expect(await view(page)).toEqual(whole);
});

test('from near the outlines are finer, from far as they were', async ({ page }) => {
  await openLive(page, '/');
  const outline = page.locator('.map a[data-code="32"] path');
  const coarse = (await outline.getAttribute('d'))!;
  await page.locator('.map-box').focus();
  await page.keyboard.press('+');
  await page.keyboard.press('+');
  await expect(outline).toHaveAttribute('transform', 'scale(.1)');
  expect((await outline.getAttribute('d'))!.length).toBeGreaterThan(coarse.length);
  await page.keyboard.press('0');
  await expect(outline).toHaveAttribute('d', coarse);
  expect(await outline.getAttribute('transform')).toBeNull();
});

/** The place of the map under a place of the window, in map units. */
function under(page: Page, { x, y }: Finger): Promise<number[]> {
  return page.locator('.map-box > svg').evaluate((svg: SVGSVGElement, at) => {
    const { x, y } = new DOMPoint(at.x, at.y).matrixTransform(svg.getScreenCTM()!.inverse());
    return [x, y];
  }, { x, y });
}

/** Half a map unit is less than a pixel from as near as these journeys go. */
function samePlace(one: number[], other: number[]): void {
  one.forEach((number, index) => expect(number).toBeCloseTo(other[index], 0));
}

test('arrow keys move the map, and stop at its edge', async ({ page }) => {
  await openLive(page, '/');
  const map = page.locator('.map-box');
  const whole = await view(page);
  await map.press('+');
  await expect.poll(async () => (await view(page))[2]).toBeLessThan(whole[2]);
  const [x, y, width, height] = await view(page);
  const step = width * 0.12;
  for (const [key, ...to] of [
    ['ArrowRight', x + step, y],
    ['ArrowDown', x + step, y + step],
    ['ArrowLeft', x, y + step],
    ['ArrowUp', x, y],
  ] as const) {
    await map.press(key);
    await expect.poll(async () => (await view(page)).map(Math.round)).toEqual([...to, width, height].map(Math.round));
  }
  for (let presses = 0; presses < 9; presses += 1) await map.press('ArrowLeft');
  await expect.poll(async () => (await view(page))[0]).toBe(whole[0]);
});

test.describe('with a mouse', () => {
  // High enough that the map is seen without scrolling: while a page scrolls, the wheel is the page's.
  test.use({ hasTouch: false, viewport: { width: 1440, height: 1400 } });

  test('the wheel enlarges the map about the pointer, and makes it small again', async ({ page }) => {
    await openLive(page, '/');
    const whole = await view(page);
    const { x, y } = await middle(page);
    const pointer = { x: x + 60, y: y + 20 };
    const place = await under(page, pointer);
    await page.mouse.move(pointer.x, pointer.y);
    await page.mouse.wheel(0, -300);
    await expect.poll(async () => whole[2] / (await view(page))[2]).toBeGreaterThan(1.5);
    samePlace(await under(page, pointer), place);
    expect(await page.evaluate(() => scrollY)).toBe(0);
    await page.mouse.wheel(0, 300);
    await expect.poll(() => view(page)).toEqual(whole);
  });

  test('a map that is dragged follows the mouse until it is let go, and nothing opens there', async ({ page }) => {
    await openLive(page, '/');
    const whole = await view(page);
    await page.locator('.map-box').press('+');
    await expect.poll(async () => (await view(page))[2]).toBeLessThan(whole[2]);
    // Of a province: a click there would open it.
    const province = (await page.locator('.map a[data-code="62"] path').boundingBox())!;
    const [x, y] = [province.x + province.width / 2, province.y + province.height / 2];
    const start = await view(page);
    const held = await under(page, { x, y });
    const end = { x: x - 120, y: y + 25 };
    await page.mouse.move(x, y);
    await page.mouse.down();
    await page.mouse.move(end.x, end.y, { steps: 6 });
    await page.mouse.up();
    await expect.poll(async () => (await view(page))[0]).toBeGreaterThan(start[0]);
    samePlace(await under(page, end), held);
    // Let go: the mouse moves on alone; and the province under it was not opened.
    await page.mouse.move(x, y, { steps: 6 });
    samePlace(await under(page, end), held);
    await page.locator('.map-box').press('0');
    await expect.poll(() => view(page)).toEqual(whole);
    await expect(page).toHaveURL('/');
  });
});

test('a district opens where its facilities are, and the whole province is one step away', async ({ page }) => {
  await page.goto(`/regions/${place.district}`);
  const first = await view(page);
  await live(page);
  await expect(page.locator('.map__still')).toHaveCount(0);
  expect(await view(page)).toEqual(first);
  // A small picture tells where in its province that is.
  const [province, seen] = await Promise.all(['path', 'rect'].map((part) => page.locator(`.map__locator ${part}`).boundingBox()));
  expect(seen!.width).toBeGreaterThan(4);
  expect(seen!.width).toBeLessThan(province!.width);
  await page.locator('.map-box').focus();
  for (let step = 0; step < 9; step += 1) await page.keyboard.press('-');
  const base = (await page.locator('.map-box > svg').getAttribute('data-base'))!.split(' ').map(Number);
  await expect.poll(async () => (await view(page))[2]).toBe(base[2]);
  expect(base[2]).toBeGreaterThan(first[2]);
  await page.keyboard.press('0');
  await expect.poll(() => view(page)).toEqual(first);
});

test('points that could not be fetched are asked for again, of their region', async ({ page, complaints }) => {
  await page.clock.install();
  const asked: string[] = [];
  await page.route('**/api/v1/map/facilities*', (route) => {
    asked.push(route.request().url());
    return asked.length === 1 ? route.abort() : route.continue();
  });
  await page.goto(`/regions/${place.regency}`);
  await expect.poll(() => asked.length).toBe(1);
  // Nobody moves the map: it asks by itself.
  await page.clock.fastForward(61_000);
  await expect.poll(() => asked.length).toBe(2);
  await expect(page.locator('.map__still')).toHaveCount(0);
  for (const url of asked) expect(url).toContain(`region=${place.regency}`);
  // The browser's own word about the request that was broken off.
  expect(complaints.splice(0).every((complaint) => complaint.includes('ERR_FAILED'))).toBe(true);
});
