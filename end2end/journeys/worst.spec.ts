// The list of what is out of range: values change in place, rows stay where they are under a pointer, and a button brings them into order.
import { expect, openLive, post, test } from './fixtures.ts';

test('rows stay under the pointer until somebody asks for the new order', async ({ page }) => {
  // A regency of its own, so that no other journey changes the list.
  const [first, second] = ['P321501-1-F1', 'P321502-1-F1'];
  await post(first, 12.5);
  await openLive(page, '/regions/32.15');
  const rows = page.locator('#worst li');
  await expect(rows).toHaveCount(1);
  await expect(rows.first()).toContainText('12,5');

  await rows.first().hover();
  await post(second, 19.5);
  const sort = page.locator('#worst').getByRole('button');
  await expect(sort).toHaveText('1 berubah, urutkan');
  await expect(rows).toHaveCount(1);
  await post(first, 13.5);
  await expect(rows.first()).toContainText('13,5');
  await sort.click();
  await expect(rows).toHaveCount(2);
  await expect(sort).toHaveCount(0);

  // By keyboard the same: focus holds the rows.
  await page.mouse.move(0, 0);
  await rows.first().getByRole('link').focus();
  await post(second, 4.2);
  const back = page.locator('#worst li', { hasText: 'Kembali dalam rentang' });
  await expect(back).toHaveCount(1);
  // What it was while it was outside is not what it is now.
  await expect(back.locator('.alert__what')).toHaveText('Kembali dalam rentang');
  await expect(rows).toHaveCount(2);
  await rows.first().getByRole('link').evaluate((link: HTMLElement) => link.blur());
  await expect(rows).toHaveCount(1);
});
