/**
 * `npm run pictures`: a picture of each page of the console, light and dark, 320 and 1280 pixels wide, of a story that was really
 * run. They are for the eye: lay them beside each other after a change of the page.
 *
 *   node test/pictures.ts [FOLDER] [page…]
 */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { chromium } from "./harness/browser/chromium.ts";
import { playStory } from "./harness/browser/jobs.ts";
import { PAGES } from "./harness/browser/pages.ts";
import { consoleStage } from "./harness/browser/stage.ts";
import { open, seenIn, visit } from "./harness/browser/visit.ts";

const say = (text: string): void => void process.stdout.write(`${text}\n`);
async function main(folder: string, wanted: readonly string[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  await using chrome = await chromium();
  await using stage = await consoleStage();
  say("playing the story");
  await playStory(stage);
  await using person = await visit(chrome.browser);
  const { page } = person;
  await open(page, await stage.link("Maren Holt"));
  for (const [name, at] of Object.entries(PAGES)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    await open(page, stage.url + at.path);
    await at.then?.(page);
    for (const width of [1280, 320] as const)
      for (const dark of [false, true]) {
        await seenIn(page, { width, dark });
        const file = path.join(folder, `${name}-${width}-${dark ? "dark" : "light"}.png`);
        await page.screenshot({ path: file, fullPage: true, animations: "disabled" });
        say(file);
      }
  }
  for (const it of person.complaints()) say(it);
}

if (import.meta.main) {
  const [folder = ".pictures", ...wanted] = process.argv.slice(2);
  await main(folder, wanted);
}
