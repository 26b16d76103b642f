// Indonesian first, English complete, and the choice is remembered.
import { expect, place, test } from './fixtures.ts';

test('the language switch changes the page and is remembered', async ({ page }) => {
  await page.goto(`/devices/${place.device}`);
  await expect(page.locator('html')).toHaveAttribute('lang', 'id');
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Kulkas 1');
  await page.locator('header.bar').getByRole('link', { name: 'EN' }).click();
  await expect(page.locator('html')).toHaveAttribute('lang', 'en');
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Fridge 1');
  await page.goto('/');
  await expect(page.locator('html')).toHaveAttribute('lang', 'en');
  await page.locator('header.bar').getByRole('link', { name: 'ID' }).click();
  await expect(page.locator('html')).toHaveAttribute('lang', 'id');
});

test('the language switch keeps the rest of the address', async ({ page }) => {
  await page.goto('/search?q=Lembang');
  await page.locator('header.bar').getByRole('link', { name: 'EN' }).click();
  await expect(page).toHaveURL(/q=Lembang/);
  await expect(page.locator('html')).toHaveAttribute('lang', 'en');
});

test('the theme is remembered', async ({ page }) => {
  await page.goto('/settings');
  await page.getByRole('link', { name: 'Gelap', exact: true }).click();
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await page.goto('/');
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
});
