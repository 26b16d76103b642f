// From a reading posted to its value on the open page of its device, in Chromium: one line in milliseconds per reading.
// Run by `cargo xtask bench live`: node latency.mjs DEVICE SECONDS, with RANTAI_URL and RANTAI_KEY.
import { chromium } from 'playwright-core';

const [device, seconds] = process.argv.slice(2);
const { RANTAI_URL: url, RANTAI_KEY: key } = process.env;
const now = () => performance.timeOrigin + performance.now();

async function post(temperature) {
  const response = await fetch(new URL('/ingest', url), {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ device_id: device, ts: Date.now(), temperature }),
  });
  if (!response.ok) throw new Error(`POST /ingest: ${response.status} ${await response.text()}`);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: process.getuid?.() === 0 ? ['--no-sandbox', '--disable-gpu'] : ['--disable-gpu'],
});
try {
  const page = await browser.newPage({ locale: 'id-ID' });
  await post(4.4);
  await page.goto(`${url}/devices/${device}`);
  await page.locator('.live[data-state="live"]').waitFor();
  // The page itself looks at what changes in it and keeps when the text that is waited for first stood there.
  await page.evaluate(() => {
    Object.assign(globalThis, { seen: null, wanted: null });
    const look = () => {
      if (!globalThis.wanted || globalThis.seen) return;
      if (document.querySelector('.todo__value .num').textContent === globalThis.wanted) {
        globalThis.seen = performance.timeOrigin + performance.now();
      }
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  const end = now() + Number(seconds) * 1000;
  for (let n = 0; now() < end; n += 1) {
    const temperature = Math.round(30 + ((n * 7) % 41)) / 10;
    const text = temperature.toFixed(1).replace('.', ',');
    await page.evaluate((wanted) => void Object.assign(globalThis, { seen: null, wanted }), text);
    const posted = now();
    await post(temperature);
    await page.waitForFunction(() => globalThis.seen, null, { timeout: 5000, polling: 50 });
    console.log((await page.evaluate(() => globalThis.seen)) - posted);
    await new Promise((done) => setTimeout(done, 700 + ((n * 37) % 300)));
  }
} finally {
  await browser.close();
}
