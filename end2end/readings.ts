// The readings that the journeys look at, and sending them as a gateway would: NDJSON to /ingest with a key.

/** One reading of a refrigerator. */
export type Reading = { device_id: string; ts: number; temperature: number; battery?: number; status?: 'ok' | 'warn' | 'error' };

/** A real place of the master data, Puskesmas Lembang, and where it lies; and a device that is not in them. */
export const place = {
  province: '32',
  regency: '32.17',
  district: '32.17.01',
  facility: 'P321701-1',
  device: 'P321701-1-F1',
  unregistered: 'kulkas-tanpa-nama',
};

const minute = 60_000;

/** A day of readings, one in five minutes, up to now: one device too warm, one freezing, some fine, one silent, one unregistered. */
export function aDay(now = Date.now()): Reading[] {
  const day = (device_id: string, temperature: (age: number) => number, silent = 0): Reading[] =>
    Array.from({ length: 288 }, (_, i) => (288 - i) * 5)
      .filter((age) => age > silent)
      .map((age) => ({ device_id, ts: now - age * minute, temperature: temperature(age), battery: 90, status: 'ok' }));
  const wave = (age: number) => Math.round((4.6 + 0.9 * Math.sin(age / 40)) * 10) / 10;
  return [
    ...day(place.device, wave),
    ...day('P321701-2-F1', (age) => (age < 90 ? 9.4 : wave(age))),
    ...day('P321704-1-F1', (age) => (age < 45 ? -0.8 : wave(age))),
    ...day('P321703-1-F1', wave, 300),
    ...day('P310101-1-F1', wave),
    ...day(place.unregistered, wave),
  ];
}

/** Sends readings and returns the answer once all of them are safe; fails if one was refused. */
export async function send(readings: Reading[]): Promise<void> {
  const response = await fetch(new URL('/ingest', process.env.RANTAI_URL), {
    method: 'POST',
    headers: { authorization: `Bearer ${process.env.RANTAI_KEY}`, 'content-type': 'application/x-ndjson' },
    body: readings.map((reading) => JSON.stringify(reading)).join('\n'),
  });
  const answer = await response.text();
  if (!response.ok || JSON.parse(answer).rejected !== 0) throw new Error(`POST /ingest: ${response.status} ${answer}`);
}
