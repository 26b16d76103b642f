// WCAG 2.2 AA as far as a machine can tell: axe finds nothing, on every page, in both languages, in both themes.
import { languages, live, nothingFound, pages, test, themes } from './fixtures.ts';

for (const { name, path, live: isLive } of pages) {
  for (const language of languages) {
    test(`axe finds nothing: ${name}, ${language}, ${themes.join(' and ')}`, async ({ page }) => {
      await page.emulateMedia({ colorScheme: themes[0], reducedMotion: 'reduce' });
      await page.goto(`${path}${path.includes('?') ? '&' : '?'}lang=${language}`);
      if (isLive) await live(page);
      for (const theme of themes) {
        await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
        await test.step(theme, () => nothingFound(page));
      }
    });
  }
}

for (const { name, path } of pages) {
  test(`axe finds nothing: ${name} on a phone`, async ({ page }) => {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.goto(path);
    await nothingFound(page);
  });
}
