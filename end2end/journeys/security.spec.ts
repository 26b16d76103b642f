// What the browser is told to refuse. That nothing of ours is refused is checked by every journey (fixtures.ts).
import { expect, pages, test } from './fixtures.ts';

for (const { name, path } of pages) {
  test(`${name} comes with a strict content security policy and no inline style`, async ({ request }) => {
    const response = await request.get(path);
    const policy = response.headers()['content-security-policy'] ?? '';
    expect(policy).toMatch(/default-src '(none|self)'/);
    expect(policy).not.toContain('unsafe-inline');
    expect(policy).not.toMatch(/'unsafe-eval'/);
    expect(policy).toMatch(/frame-ancestors 'none'/);
    expect(response.headers()['x-content-type-options']).toBe('nosniff');
    const html = await response.text();
    expect(html).not.toMatch(/<[^>]+ style="/);
    expect(html).not.toMatch(/<[^>]+ on[a-z]+="/);
    // A page without script allows none.
    if (!html.includes('<script')) return expect(policy).toMatch(/^default-src 'none'; (?!.*script-src)/);
    // Every script carries the nonce; a block of data is none.
    expect(policy).toMatch(/script-src [^;]*'nonce-[^']+'/);
    expect(html).not.toMatch(/<script(?! type="application\/json")(?![^>]*nonce=)/);
    const again = await request.get(path);
    expect(again.headers()['content-security-policy'], 'a nonce is used once').not.toBe(policy);
  });
}

test('a machine without a key may not send', async ({ request }) => {
  const response = await request.post('/ingest', { data: { device_id: 'P321701-1-F1', ts: Date.now(), temperature: 4 } });
  expect(response.status()).toBe(401);
});

// What strangers choose is text on every page; a title is the one place that the views do not escape themselves.
test('markup in a search stays text, also in the title', async ({ page }) => {
  const markup = '</title><img src=x id=planted>';
  await page.goto(`/search?q=${encodeURIComponent(markup)}`);
  expect(await page.title()).toContain(markup);
  await expect(page.locator('#planted')).toHaveCount(0);
});
