// Every page on a phone: nothing hangs over the edge, everything can be touched.
import { expect, pages, test } from './fixtures.ts';

for (const { name, path } of pages) {
  test(`${name} fits screens 360 and 320 wide`, async ({ page }) => {
    for (const viewport of [{ width: 360, height: 740 }, { width: 320, height: 640 }]) {
      await page.setViewportSize(viewport);
      await page.goto(path);
      const { needed, wide } = await page.evaluate(() => ({
        needed: document.documentElement.scrollWidth,
        // Which elements hang over, for the message.
        wide: [...document.querySelectorAll('body *')]
          .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5 && !element.closest('.scroll, .sr, svg'))
          .map((element) => `${element.tagName.toLowerCase()}.${element.getAttribute('class')}`)
          .slice(0, 5),
      }));
      expect(needed, `too wide for ${viewport.width}: ${wide.join(', ')}`).toBeLessThanOrEqual(viewport.width);
    }
  });
}

test('the dock leads on with a thumb', async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await page.goto('/');
  const links = page.locator('nav.dock a');
  await expect(links).toHaveCount(4);
  for (const link of await links.all()) {
    const box = (await link.boundingBox())!;
    expect(Math.min(box.width, box.height)).toBeGreaterThanOrEqual(44);
  }
  await links.filter({ has: page.locator('xpath=self::*[@href="/pipeline"]') }).click();
  await expect(page).toHaveURL('/pipeline');
});

test.describe('with a finger', () => {
  test.use({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });

  test('a tap on a time tells it in UTC', async ({ page }) => {
    await page.goto('/?lang=en');
    const time = page.locator('.page-head time');
    const said = () => time.evaluate((element) => getComputedStyle(element, '::after').content);
    expect(await said()).toBe('none');
    await time.tap();
    expect(await said()).toMatch(/^"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC"$/);
  });
});
