// Frames while the national map is dragged with all facilities on it: `node frames.mjs http://127.0.0.1:3000`, as fast as this machine
// is and with its processor four times as slow. Prints the share of frames on time (60 a second) and the longest.
import { chromium } from 'playwright-core';

const url = process.argv[2] ?? process.env.RANTAI_URL ?? 'http://127.0.0.1:3000';
const args = ['--no-first-run', '--disable-quic', '--disable-background-networking', ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args });
try {
  for (const slower of [1, 4]) console.log(`CPU 1/${slower}: ${await drag(slower)}`);
} finally {
  await browser.close();
}

async function drag(slower) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  const facilities = page.waitForResponse((response) => response.url().includes('/api/pages/map/places'));
  await page.goto(url);
  await page.locator('.map__tools').waitFor();
  const map = page.locator('.map-box');
  await map.focus();
  // Near enough for facilities; most of the country is still seen.
  for (let times = 0; times < 2; times += 1) await page.keyboard.press('+');
  const count = (await (await facilities).json()).codes.length;
  await page.waitForTimeout(1000);
  const session = await page.context().newCDPSession(page);
  await session.send('Emulation.setCPUThrottlingRate', { rate: slower });
  const box = await map.boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.evaluate(() => {
    window.frames_ = [];
    let last = performance.now();
    const note = (now) => {
      window.frames_.push(now - last);
      last = now;
      requestAnimationFrame(note);
    };
    requestAnimationFrame(note);
  });
  const end = Date.now() + 4000;
  for (let step = 0; Date.now() < end; step += 1) {
    await page.mouse.move(x + Math.sin(step / 15) * 250, y + Math.cos(step / 15) * 60);
  }
  await page.mouse.up();
  const frames = (await page.evaluate(() => window.frames_)).slice(2).sort((a, b) => a - b);
  await page.close();
  const at = (part) => frames[Math.min(frames.length - 1, Math.floor(frames.length * part))];
  const onTime = frames.filter((frame) => frame < 25).length / frames.length;
  return (
    `${count} facilities, ${(frames.length / 4).toFixed(0)} frames/s, ${(onTime * 100).toFixed(1)} % on time, ` +
    `median ${at(0.5).toFixed(1)} ms, p95 ${at(0.95).toFixed(1)} ms, longest ${frames.at(-1).toFixed(1)} ms`
  );
}
