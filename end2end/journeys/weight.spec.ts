// What a page weighs on the wire, as a phone on a bad network would ask for it.
import { get as httpGet } from 'node:http';
import { expect, place, test } from './fixtures.ts';

/** Bytes of the body as sent, compressed. */
function weight(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const url = new URL(path, process.env.RANTAI_URL);
    httpGet(url, { headers: { 'accept-encoding': 'br, gzip' } }, (response) => {
      let bytes = 0;
      response.on('data', (chunk: Buffer) => (bytes += chunk.length));
      response.on('end', () => (response.statusCode === 200 ? resolve(bytes) : reject(new Error(`${url}: ${response.statusCode}`))));
    }).on('error', reject);
  });
}

const kib = 1024;

/** The addresses of the files that a page asks for: style sheet, script, module. */
async function files(page: import('@playwright/test').Page, path: string) {
  const asked: string[] = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  await page.goto(path);
  // The module is asked for first, and its script may be heard of after it.
  await expect.poll(() => ['.js', '.wasm'].map((kind) => asked.filter((file) => file.endsWith(kind)).length)).toEqual([1, 1]);
  return { style: asked.filter((file) => file.endsWith('.css')), bundle: asked.filter((file) => /\.(js|wasm)$/.test(file)) };
}

async function sum(paths: string[]): Promise<number> {
  return (await Promise.all(paths.map(weight))).reduce((total, bytes) => total + bytes, 0);
}

test('the first HTML of the country is at most 60 KiB', async () => {
  expect(await weight('/')).toBeLessThanOrEqual(60 * kib);
});

test('a facility is at most 20 KiB with its style sheet', async ({ page }) => {
  const path = `/facilities/${place.facility}`;
  const { style } = await files(page, path);
  expect(style).toHaveLength(1);
  expect(await sum([path, ...style])).toBeLessThanOrEqual(20 * kib);
});

test('where all facilities are is at most 170 KiB, asked for once, and how they stand 4 KiB', async ({ request }) => {
  const conditions = '/api/pages/map/conditions';
  const { version, conditions: digits } = await (await request.get(conditions)).json();
  expect(digits.length).toBeGreaterThan(12_000);
  expect(await weight(conditions)).toBeLessThanOrEqual(4 * kib);
  const places = `/api/pages/map/places?version=${version}`;
  expect(await weight(places)).toBeLessThanOrEqual(170 * kib);
  expect((await request.get(places)).headers()['cache-control']).toContain('immutable');
  // Nothing has changed: not even that.
  const first = await request.get('/api/pages/map/conditions?region=94');
  const again = await request.get('/api/pages/map/conditions?region=94', { headers: { 'if-none-match': first.headers().etag } });
  expect(again.status()).toBe(304);
});

test('the day of the country and the curves of a facility weigh little', async () => {
  expect(await weight('/api/pages/day?code=ID')).toBeLessThanOrEqual(4 * kib);
  expect(await weight(`/api/pages/sparks?code=${place.facility}`)).toBeLessThanOrEqual(2 * kib);
});

test('the bundle is at most 350 KiB', async ({ page }) => {
  const { bundle } = await files(page, '/');
  expect(bundle).toHaveLength(2);
  expect(await sum(bundle)).toBeLessThanOrEqual(350 * kib);
});
