// Lighthouse, as pinned in package.json, on overview, facility and device of a running server, on a slow phone as it throttles by
// default: `node lighthouse.mjs http://127.0.0.1:3000`. Prints the scores; ends with 1 where one is too low.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const url = process.argv[2] ?? process.env.RANTAI_URL ?? 'http://127.0.0.1:3000';
const lowest = { performance: 95, accessibility: 100, 'best-practices': 95 };
const facility = process.argv[3] ?? 'P321701-1';
const folder = mkdtempSync(join(tmpdir(), 'rantai-lighthouse-'));
const { lighthouse } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')).config;
const flags = `--headless --disable-gpu --disable-quic --no-first-run${process.getuid?.() === 0 ? ' --no-sandbox' : ''}`;
let isLow = false;
try {
  for (const path of ['/', `/facilities/${facility}`, `/devices/${facility}-F1`]) {
    const report = join(folder, 'report.json');
    const args = ['--yes', `lighthouse@${lighthouse}`, new URL(path, url).href, '--quiet', '--output=json', `--output-path=${report}`];
    const env = { CHROME_PATH: process.env.CHROMIUM ?? '/usr/bin/chromium', ...process.env };
    const run = spawnSync('npx', [...args, `--only-categories=${Object.keys(lowest)}`, `--chrome-flags=${flags}`], { env, encoding: 'utf8' });
    if (run.status !== 0) throw new Error(`lighthouse ended with ${run.status}:\n${run.stderr}`);
    const { categories, audits } = JSON.parse(readFileSync(report, 'utf8'));
    const scores = Object.keys(lowest).map((id) => [id, Math.round(categories[id].score * 100)]);
    isLow ||= scores.some(([id, score]) => score < lowest[id]);
    const times = ['first-contentful-paint', 'largest-contentful-paint', 'total-blocking-time'].map((id) => `${id} ${audits[id].displayValue}`);
    console.log(`${path}: ${scores.map((score) => score.join(' ')).join(', ')} (${times.join(', ')})`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
process.exitCode = isLow ? 1 : 0;
