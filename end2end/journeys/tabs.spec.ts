// Many tabs of one browser, which has six connections to a server for all of them: only tabs that somebody looks at hold a stream.
import { type Page, expect, live, onTopic, openLive, place, post, test } from './fixtures.ts';

/** Puts a tab behind others, or in front of them, as far as its page can tell: a browser without windows shows all of them. */
function show(page: Page, visible: boolean): Promise<void> {
  return page.evaluate((visible) => {
    Object.defineProperty(document, 'hidden', { value: !visible, configurable: true });
    Object.defineProperty(document, 'visibilityState', { value: visible ? 'visible' : 'hidden', configurable: true });
    document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
  }, visible);
}

test('eight tabs are open, and the first is live again when somebody looks at it', async ({ page, context }) => {
  const device = 'P321605-1-F1';
  await post(device, 4.3);
  const paths = [`/devices/${device}`, '/', `/regions/${place.province}`, `/regions/${place.regency}`, '/pipeline'];
  const others = [...paths.slice(1), `/regions/${place.district}`, `/facilities/${place.facility}`, `/devices/${place.device}`];
  await openLive(page, paths[0]);
  const titles: string[] = [];
  let before = page;
  for (const path of others) {
    titles.push(await before.title());
    await show(before, false);
    await expect(before.locator('.live')).toHaveAttribute('data-state', 'paused');
    before = await context.newPage();
    await openLive(before, path);
  }
  expect(context.pages()).toHaveLength(8);
  // Behind the others it hears of nothing, and says no more than what it is.
  const country = context.pages()[1];
  expect(titles[1]).toMatch(/^Indonesia: /);
  await expect(country).toHaveTitle('Indonesia · Rantai');
  await post(device, 6.9);
  await show(before, false);
  await show(page, true);
  await live(page);
  await expect(onTopic(page, `device:${device}`).filter({ hasText: '6,9' }).first()).toBeVisible();
  await show(country, true);
  await live(country);
  await expect(country).toHaveTitle(/^Indonesia: /);
});
