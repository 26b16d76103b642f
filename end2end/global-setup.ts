// Starts the real server on a free port with an empty data folder, makes a key as an administrator would, and sends it a day
// of readings. Returns how to end it: the server has to drain and end with 0.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { aDay, send } from './readings.ts';

const target = process.env.CARGO_TARGET_DIR ?? resolve(import.meta.dirname, '../target');
const binary = process.env.RANTAI_BINARY ?? join(target, 'release/rantai');
const site = process.env.RANTAI_SITE_DIR ?? join(target, 'site');

export default async function setup(): Promise<() => Promise<void>> {
  const data = mkdtempSync(join(tmpdir(), 'rantai-journeys-'));
  const log = join(data, 'server.log');
  const options = ['serve', '--listen', '127.0.0.1:0', '--data-dir', data, '--site-dir', site];
  const server = spawn(binary, options, { stdio: ['ignore', 'pipe', openSync(log, 'w')] });
  try {
    process.env.RANTAI_URL = await addressOf(server);
    const create = ['key', 'create', '--name', 'journeys', '--scope', 'ingest,read', '--data-dir', data];
    process.env.RANTAI_KEY = execFileSync(binary, create, { encoding: 'utf8' }).trim();
    await send(aDay());
  } catch (error) {
    server.kill('SIGKILL');
    throw new Error(`${error}\nthe server's log:\n${readFileSync(log, 'utf8').slice(-4000)}`);
  }
  return async () => {
    const ended = once(server, 'exit');
    server.kill('SIGTERM');
    const [code, signal] = await ended;
    const words = readFileSync(log, 'utf8');
    rmSync(data, { recursive: true });
    if (code !== 0) throw new Error(`the server ended with ${code ?? signal}, not 0:\n${words.slice(-4000)}`);
    if (/panicked at/.test(words)) throw new Error(`the server panicked:\n${words}`);
  };
}

/** What the server prints once it is ready: `listening on URL`. */
async function addressOf(server: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: server.stdout! })) {
    const address = /^listening on (\S+)/.exec(line)?.[1];
    if (address) return address;
  }
  throw new Error('the server ended before it listened');
}
