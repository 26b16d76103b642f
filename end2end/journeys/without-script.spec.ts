// JavaScript off: everything can be read, links and forms work.
import { expect, pages, place, test } from './fixtures.ts';

test.use({ javaScriptEnabled: false });

for (const { name, path, status = 200 } of pages) {
  test(`${name} reads without script`, async ({ page }) => {
    const response = await page.goto(path);
    expect(response?.status()).toBe(status);
    await expect(page.getByRole('heading', { level: 1 })).toHaveCount(1);
    await expect(page.locator('main')).toBeVisible();
    await expect(page.locator('.skeleton')).toHaveCount(0);
    await expect(page.getByRole('navigation').first()).toBeVisible();
  });
}

test('the newest value and the day stand in the first HTML', async ({ request }) => {
  const html = await (await request.get(`/devices/${place.device}`)).text();
  expect(html).toMatch(/\d,\d/);
  expect(html).toContain('<svg');
  expect(html).toContain('<table');
});

test('language, theme and search work as links and forms', async ({ page }) => {
  await page.goto('/');
  await page.locator('header.bar').getByRole('link', { name: 'EN' }).click();
  await expect(page.locator('html')).toHaveAttribute('lang', 'en');
  await page.goto('/settings');
  await page.locator('main a[href*="to=dark"]').click();
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await page.goto('/search');
  await page.locator('main').getByRole('searchbox').fill(place.facility);
  await page.locator('main').getByRole('searchbox').press('Enter');
  await expect(page.locator(`main a[href="/facilities/${place.facility}"]`).first()).toBeVisible();
});

test('the map of a region shows its parts or its facilities without script', async ({ page }) => {
  for (const [code, shapes] of [
    [place.province, '.map__bubbles a[href^="/regions/"] circle'],
    [place.province, '.map__bubbles a[href^="/facilities/"] rect'],
    [place.regency, '.map__still path[d^=M]'],
    [place.district, '.map__still path[d^=M]'],
  ]) {
    await page.goto(`/regions/${code}`);
    await expect(page.locator(shapes).first()).toBeVisible();
    await expect(page.locator('section[aria-labelledby="map-title"] .key').first()).toBeVisible();
  }
});
