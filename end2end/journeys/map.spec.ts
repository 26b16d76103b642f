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
  await page.route('**/api/pages/map/conditions*', (route) => {
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

test.describe('facilities', () => {
  test.use({ hasTouch: false, viewport: { width: 1440, height: 1400 } });

  /** Where a place lies in the window; the map itself in its units as in app/src/map/points.rs. */
  function over(page: Page, latitude: number, longitude: number): Promise<Finger> {
    const at = { x: (longitude - 94.2) * 40, y: (6.2 - latitude) * 40 };
    return page.locator('.map-box > svg').evaluate((svg: SVGSVGElement, at) => {
      const { x, y } = new DOMPoint(at.x, at.y).matrixTransform(svg.getScreenCTM()!);
      return { x, y };
    }, at);
  }

  test('come from near, once; how they stand is asked again, and a click on one opens its page', async ({ page }) => {
    await page.clock.install();
    const asked: string[] = [];
    page.on('request', (request) => {
      const path = new URL(request.url()).pathname;
      if (path.startsWith('/api/') && path.includes('/map/')) asked.push(path.split('/').pop()!);
    });
    await openLive(page, '/');
    expect(asked).toEqual([]);
    // Puskesmas Lumbir (data/facilities). The wheel enlarges about the pointer, so it stays under it, up to a pixel each time.
    for (let width = (await view(page))[2]; width > 4.1; ) {
      const { x, y } = await over(page, -7.30697, 109.1696);
      await page.mouse.move(x, y);
      await page.mouse.wheel(0, -400);
      await expect.poll(async () => (await view(page))[2]).toBeLessThan(width);
      [, , width] = await view(page);
    }
    await expect.poll(() => asked).toEqual(['conditions', 'places']);
    await expect(page.locator('.map-box ~ .panel__foot')).toContainText('Tidak ada kabar');
    await page.clock.fastForward(76_000);
    await expect.poll(() => asked).toEqual(['conditions', 'places', 'conditions']);
    const here = await over(page, -7.30697, 109.1696);
    await page.mouse.move(here.x, here.y);
    await expect(page.locator('.map-box')).toHaveClass(/map-box--hit/);
    await page.mouse.click(here.x, here.y);
    await expect(page).toHaveURL('/facilities/P330201-1');
  });

  test('are not asked for while nobody looks', async ({ page }) => {
    await page.clock.install();
    const asked: string[] = [];
    page.on('request', (request) => {
      if (request.url().includes('/map/conditions')) asked.push(request.url());
    });
    await openLive(page, `/regions/${place.regency}`);
    await expect.poll(() => asked.length).toBe(1);
    const hide = (hidden: boolean) =>
      page.evaluate((value) => Object.defineProperty(document, 'hidden', { value, configurable: true }), hidden);
    await hide(true);
    await page.clock.runFor(180_000);
    expect(asked.length).toBe(1);
    await hide(false);
    await page.clock.runFor(16_000);
    await expect.poll(() => asked.length).toBe(2);
  });
});

test('the map is coloured by what is chosen, and says so', async ({ page }) => {
  await openLive(page, '/');
  const title = page.locator('#map-title');
  await expect(title).toHaveText('Unit di luar rentang');
  const aceh = page.locator('.map a[data-code="11"]');
  const before = await aceh.evaluate((area) => [area.getAttribute('class'), area.querySelector('title')!.textContent]);
  await page.locator('a[href="/?measure=silent"]').click();
  await expect(page).toHaveURL('/?measure=silent');
  await live(page);
  await expect(title).toHaveText('Fasilitas tanpa kabar');
  await expect(page.locator('a[href="/?measure=silent"]')).toHaveAttribute('aria-current', 'true');
  // Of Aceh nobody reports: that is nothing to go by for temperatures, and all of it for silence.
  const after = await aceh.evaluate((area) => [area.getAttribute('class'), area.querySelector('title')!.textContent]);
  expect(before[0]).toBe('m0');
  expect(after).toEqual(['m5', 'Aceh: 100,0\u{a0}%']);
});

test('the parts of a province are circles until somebody looks closer, coloured by what is chosen', async ({ page }) => {
  await openLive(page, '/regions/11');
  const circles = page.locator('.map__bubbles a');
  const rows = await page.locator('main tbody th a').evaluateAll((links) => links.map((link) => link.getAttribute('href')));
  const parts = rows.filter((href) => /^\/(regions|facilities)\//.test(href!));
  expect(parts.filter((href) => href!.startsWith('/regions/')).length).toBeGreaterThan(20);
  expect(parts, 'the store of the province').toContain('/facilities/V11-1');
  const drawn = await circles.evaluateAll((links) => links.map((link) => link.getAttribute('href')));
  expect([...drawn].sort()).toEqual([...parts].sort());
  // Of Aceh nobody reports.
  const pidie = page.locator('.map__bubbles a[data-code="11.07"]');
  await expect(pidie).toHaveClass('m0');
  await page.locator('a[href="/regions/11?measure=silent"]').click();
  await live(page);
  await expect(pidie).toHaveClass('m5');
  await expect(pidie.locator('title')).toHaveText('Kab. Pidie: 100,0\u{a0}%');
  const foot = page.locator('.map-box ~ .panel__foot');
  await expect(foot).toContainText('Luas lingkaran');
  await expect(foot).not.toContainText('Aman');
  const map = page.locator('.map-box');
  await map.focus();
  for (let presses = 0; presses < 3; presses += 1) await map.press('+');
  await expect(page.locator('.map__bubbles')).toBeHidden();
  await expect(foot).toContainText('Aman');
  await map.press('0');
  await expect(page.locator('.map__bubbles')).toBeVisible();
  // A finger that meets no more than the edge of it opens it too.
  const circle = (await page.locator('.map__bubbles a[data-code="11.09"] circle').boundingBox())!;
  await page.touchscreen.tap(circle.x + circle.width / 2, circle.y + circle.height + 4);
  await expect(page).toHaveURL('/regions/11.09');
});

test('an area of several provinces names all of them, and their pages say whose outline it is', async ({ page }) => {
  await page.goto('/');
  const title = page.locator('.map a[data-code="91"] title');
  for (const name of ['Papua', 'Papua Pegunungan', 'Papua Selatan', 'Papua Tengah']) await expect(title).toContainText(name);
  const note = page.locator('.map-box ~ .panel__foot').filter({ hasText: 'Kalimantan Utara tampil di dalam Kalimantan Timur' });
  for (const path of ['/', '/regions/93', '/regions/65', '/regions/91']) {
    await page.goto(path);
    await expect(note, path).toHaveCount(1);
  }
  await page.goto('/regions/32');
  await expect(note).toHaveCount(0);
});
