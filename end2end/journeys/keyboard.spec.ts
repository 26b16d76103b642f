// Keyboard alone: the skip link first, every stop visible, no trap.
import { expect, pages, test } from './fixtures.ts';

test('the first stop skips to the content', async ({ page }) => {
  await page.goto('/');
  await page.keyboard.press('Tab');
  const skip = page.locator('a.skip');
  await expect(skip).toBeFocused();
  await expect(skip).toBeInViewport();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/#content$/);
  await page.keyboard.press('Tab');
  expect(await page.evaluate(() => document.activeElement?.closest('main') !== null)).toBe(true);
});

for (const { name, path } of pages) {
  test(`every stop on ${name} is visible, and there is a way out`, async ({ page }) => {
    await page.goto(path);
    const stops = new Set<string>();
    for (let presses = 0; presses < 60; presses += 1) {
      await page.keyboard.press('Tab');
      const stop = await page.evaluate(() => {
        const element = document.activeElement;
        if (!element || element === document.body) return null;
        const box = element.getBoundingClientRect();
        const style = getComputedStyle(element);
        const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
        const within = getComputedStyle(element.parentElement!);
        const parentRing = within.outlineStyle !== 'none' && parseFloat(within.outlineWidth) > 0;
        return {
          what: `${element.outerHTML.slice(0, 120)} at ${Math.round(box.x)},${Math.round(box.y + scrollY)}`,
          seen: (box.width > 0 && box.height > 0) || element instanceof SVGElement,
          ring: ring || parentRing || style.boxShadow !== 'none',
        };
      });
      if (stop === null) break; // left the page: no trap
      expect(stop.seen, `focus on something invisible: ${stop.what}`).toBe(true);
      expect(stop.ring, `focus cannot be seen on ${stop.what}`).toBe(true);
      // The same element twice in a row is a trap.
      expect(stops.has(stop.what) && stops.size === 1, `focus is trapped on ${stop.what}`).toBe(false);
      stops.add(stop.what);
    }
    expect(stops.size).toBeGreaterThan(5);
  });
}
