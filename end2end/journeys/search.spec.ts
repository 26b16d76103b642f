// Suggestions while typing: by keyboard, by pointer, and on a slow network.
import { expect, place, test } from './fixtures.ts';

const asked = '**/api/pages/suggest**';

test('a manager types a few letters and follows a suggestion by keyboard', async ({ page }) => {
  await page.goto('/');
  const field = page.locator('header.bar').getByRole('combobox');
  await field.pressSequentially('puskesmas lembang');
  const options = page.locator('header.bar').getByRole('option');
  await expect(options.first()).toBeVisible();
  await expect(field).toHaveAttribute('aria-expanded', 'true');
  expect(await options.count()).toBeLessThanOrEqual(6);
  await field.press('ArrowDown');
  await expect(options.first()).toHaveAttribute('aria-selected', 'true');
  await expect(field).toHaveAttribute('aria-activedescendant', (await options.first().getAttribute('id'))!);
  await field.press('ArrowUp');
  await expect(field).not.toHaveAttribute('aria-activedescendant');
  await field.press('Escape');
  await expect(options.first()).toBeHidden();
  await expect(field).toHaveAttribute('aria-expanded', 'false');
  await field.press('ArrowDown');
  const wanted = options.filter({ hasText: place.facility }).first();
  await expect(wanted).toBeVisible();
  while ((await wanted.getAttribute('aria-selected')) !== 'true') await field.press('ArrowDown');
  await field.press('Enter');
  await expect(page).toHaveURL(`/facilities/${place.facility}`);
});

test('a suggestion can be tapped, and Enter alone sends the form', async ({ page }) => {
  await page.goto('/search');
  const field = page.locator('main').getByRole('combobox');
  await field.pressSequentially(place.facility);
  // Not what the first letters of it found.
  await page.locator('main').getByRole('option').filter({ hasText: place.facility }).first().click();
  await expect(page).toHaveURL(`/facilities/${place.facility}`);
  await page.goto('/search');
  await field.pressSequentially('Lembang');
  await expect(page.locator('main').getByRole('option').first()).toBeVisible();
  await field.press('Enter');
  await expect(page).toHaveURL('/search?q=Lembang');
});

test('a slow network is asked one thing at a time, and never shows what was typed before', async ({ page }) => {
  await page.goto('/search');
  const field = page.locator('main').getByRole('combobox');
  await expect(field).toBeVisible();
  const questions: string[] = [];
  let answer = () => {};
  await page.route(asked, async (route) => {
    questions.push(new URL(route.request().url()).searchParams.get('text')!);
    await new Promise<void>((done) => (answer = done));
    await route.continue();
  });
  await field.fill('bandung');
  await expect.poll(() => questions.length).toBe(1);
  await field.pressSequentially(' barat', { delay: 60 });
  answer();
  await expect.poll(() => questions).toEqual(['bandung', 'bandung barat']);
  await expect(page.locator('main').getByRole('option')).toHaveCount(0);
  answer();
  await expect(page.locator('main').getByRole('option').first()).toContainText('Bandung Barat');
});

test('suggestions weigh little', async ({ request }) => {
  const response = await request.get('/api/pages/suggest?text=puskesmas', { headers: { 'accept-encoding': 'gzip' } });
  expect(JSON.parse(await response.text()).length).toBe(6);
  expect((await response.body()).length).toBeLessThanOrEqual(1024);
});
