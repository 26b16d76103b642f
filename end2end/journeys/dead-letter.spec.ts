// A rejected record: found on the pipeline page, read as it came, taken in again, discarded with a reason; also without script.
import { expect, languages, nothingFound, openLive, reject, test } from './fixtures.ts';

/** Sends a record that is rejected; its position among all records. */
async function rejected(name: string): Promise<number> {
  const mark = `${name}-${Date.now()}`;
  await reject(mark, 900);
  const rows = await fetch(new URL('/api/v1/dead-letters?format=ndjson', process.env.RANTAI_URL));
  const row = (await rows.text()).trim().split('\n').map((line) => JSON.parse(line)).find(({ raw }) => raw.includes(mark));
  return row.position;
}

test('a dead letter is found, read and taken in again', async ({ page }) => {
  const position = await rejected('ulang-journey');
  await openLive(page, '/pipeline');

  await page.locator(`section[aria-labelledby="dead-letters"] a[href="/pipeline/dead-letters/${position}"]`).press('Enter');
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Rekaman tertolak');
  await expect(page.locator('pre')).toContainText('ulang-journey');
  const replay = page.locator('section[aria-labelledby="replay"]');
  await replay.getByLabel('Nama Anda').fill('Sari');
  await replay.getByRole('button').click();
  await expect(page).toHaveURL(`/pipeline/dead-letters/${position}`);
  await expect(page.locator('section[aria-labelledby="decided"]')).toContainText('Ditolak lagi');
  await expect(page.locator('section[aria-labelledby="decided"]')).toContainText('Sari');
  await expect(replay).toHaveCount(0);
});

test('whoever decides finds what waits in the list of all, and not what is decided', async ({ page }) => {
  const position = await rejected('daftar-journey');
  const row = page.locator(`tbody a[href="/pipeline/dead-letters/${position}"]`);
  await openLive(page, '/pipeline?lang=en');
  await page.getByRole('link', { name: 'All dead letters' }).click();
  await expect(page).toHaveURL('/pipeline/dead-letters');
  await expect(page.getByRole('heading', { level: 1 })).toContainText('waiting for a decision');
  await page.getByRole('link', { name: 'Waiting for a decision' }).click();
  await expect(page).toHaveURL('/pipeline/dead-letters?state=open');
  // However many others come in meanwhile.
  const before = `/pipeline/dead-letters?state=open&before=${position + 1}`;
  await page.goto(before);
  await row.click();
  const discard = page.locator('section[aria-labelledby="discard"]');
  await discard.getByLabel('Your name').fill('Wati');
  await discard.getByLabel('Reason').fill('tried out');
  await discard.getByRole('button').click();
  await expect(page.locator('.page-head')).toContainText('Discarded');
  await page.goto(before);
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(row).toHaveCount(0);
  await page.getByRole('link', { name: 'All', exact: true }).click();
  await expect(page).toHaveURL('/pipeline/dead-letters');
});

for (const language of languages) {
  test(`axe finds nothing on the list of dead letters: ${language}`, async ({ page }) => {
    await rejected(`daftar-${language}`);
    for (const query of ['', '&state=open', '&before=1']) {
      await page.goto(`/pipeline/dead-letters?lang=${language}${query}`);
      await nothingFound(page);
    }
  });

  test(`axe finds nothing on the page of a dead letter: ${language}`, async ({ page }) => {
    const position = await rejected(`axe-${language}`);
    await page.goto(`/pipeline/dead-letters/${position}?lang=${language}`);
    await nothingFound(page);
  });
}

test.describe('without script', () => {
  test.use({ javaScriptEnabled: false });

  test('a dead letter is discarded by its form', async ({ page }) => {
    const position = await rejected('buang-journey');
    await page.goto(`/pipeline/dead-letters/${position}`);
    const discard = page.locator('section[aria-labelledby="discard"]');
    await discard.getByLabel('Nama Anda').fill('Budi');
    await discard.getByLabel('Alasan').fill('sensor di bengkel');
    await discard.getByRole('button').click();
    await expect(page.locator('section[aria-labelledby="decided"]')).toContainText('sensor di bengkel');
    await expect(page.locator('.page-head')).toContainText('Dibuang');
  });
});
