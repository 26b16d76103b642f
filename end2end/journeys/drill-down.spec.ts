// From the country down to one refrigerator, by links alone, and back up by the path in the bar.
import { expect, place, test } from './fixtures.ts';

test('an official follows the links from the country to a refrigerator', async ({ page }) => {
  await page.goto('/');
  await expect(page.getByRole('heading', { level: 1 })).toHaveCount(1);
  const steps = [
    `/regions/${place.province}`,
    `/regions/${place.regency}`,
    `/regions/${place.district}`,
    `/facilities/${place.facility}`,
    `/devices/${place.device}`,
  ];
  for (const step of steps) {
    await page.locator(`main a[href="${step}"]`).first().click();
    await expect(page).toHaveURL(step);
    await expect(page.getByRole('heading', { level: 1 })).toHaveCount(1);
    await expect(page.locator('header.bar .crumbs [aria-current="page"]')).toHaveAttribute('href', step);
  }
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Kulkas 1');
  await page.locator(`header.bar .crumbs a[href="/regions/${place.province}"]`).click();
  await expect(page).toHaveURL(`/regions/${place.province}`);
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Jawa Barat');
});

test('a manager finds the own puskesmas by name', async ({ page }) => {
  await page.goto('/');
  const search = page.locator('header.bar input[name=q]');
  await search.fill('Lembang');
  await search.press('Enter');
  await expect(page).toHaveURL(/\/search\?q=Lembang/);
  await page.locator(`main a[href="/facilities/${place.facility}"]`).first().click();
  await expect(page).toHaveURL(`/facilities/${place.facility}`);
});

test('a village is found by name and from its district, and leads to the facilities that serve it', async ({ page }) => {
  await page.goto(`/regions/${place.district}`);
  const village = page.locator('section[aria-labelledby="uncounted"] a').filter({ hasText: 'Gudangkahuripan' });
  const href = await village.getAttribute('href');
  expect(href).toMatch(new RegExp(`^/regions/${place.district}\\.`));
  await village.click();
  await expect(page).toHaveURL(href!);
  await expect(page.locator('main')).toContainText('Fasilitas di Lembang melayani tempat ini');
  await page.locator(`main a[href="/facilities/${place.facility}"]`).click();
  await expect(page).toHaveURL(`/facilities/${place.facility}`);
  await page.goto('/search?q=Gudangkahuripan');
  await page.locator(`main a[href="${href}"]`).click();
  await expect(page).toHaveURL(href!);
});

test('an address that leads nowhere says so and offers the way on', async ({ page }) => {
  const response = await page.goto('/regions/99');
  expect(response?.status()).toBe(404);
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(page.locator('main a[href="/"]').first()).toBeVisible();
});

test('the table of what lies below a place is saved as CSV, as whole as it is shown', async ({ page, request }) => {
  await page.goto(`/regions/${place.province}?lang=en`);
  const panel = page.locator('section[aria-labelledby="children"]');
  const csv = await request.get((await panel.getByRole('link', { name: 'CSV' }).getAttribute('href'))!);
  expect(csv.headers()['content-disposition']).toMatch(/filename="\d\d-children-\d{8}-\d{4}\.csv"/);
  const [header, ...rows] = (await csv.text()).trim().split('\r\n').map((line) => line.split(','));
  expect(header.slice(0, 3)).toEqual(['code', 'name', 'kind']);
  const shown = await panel.locator('tbody th a').evaluateAll((links) => links.map((link) => link.getAttribute('href')!.split('/').pop()!));
  const regions = rows.filter(([, , kind]) => kind === 'region').map(([code]) => code);
  expect(regions.toSorted()).toEqual(shown.toSorted());
  const kinds = rows.map(([, , kind]) => kind);
  expect(kinds, 'regions come first').toEqual([...kinds].sort().reverse());
});
