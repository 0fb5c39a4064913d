/**
 * A person's browser: pages of the console, in one of the ways in which people have theirs.
 *
 * The failure this prevents: a violation of the content security policy, or an error of the page's script, that a test does not
 * see because it looks at something else.
 */
import type { Browser, BrowserContext, Page } from "playwright-core";

export interface Ways {
  readonly width?: 320 | 1280;
  readonly dark?: boolean;
  readonly forcedColours?: boolean;
  readonly reducedMotion?: boolean;
}

export interface Visit extends AsyncDisposable {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Everything that the browser complained of so far: violations of the policy, errors of scripts, words of the console. */
  complaints(): readonly string[];
}

const HEIGHT = 900;

export async function visit(browser: Browser, { width = 1280, dark, forcedColours, reducedMotion }: Ways = {}): Promise<Visit> {
  const context = await browser.newContext({
    viewport: { width, height: HEIGHT },
    colorScheme: dark === true ? "dark" : "light",
    forcedColors: forcedColours === true ? "active" : "none",
    reducedMotion: reducedMotion === true ? "reduce" : "no-preference",
  });
  const complaints: string[] = [];
  await context.exposeFunction("longshoreComplain", (text: string) => void complaints.push(text));
  await context.addInitScript(() => {
    const complain = Reflect.get(globalThis, "longshoreComplain") as (text: string) => void;
    addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      complain(`the policy's ${violatedDirective} was violated by ${blockedURI}`),
    );
  });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => complaints.push(`the script failed: ${error.message}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`the browser says: ${message.text()}`);
  });
  return { page, context, complaints: () => [...complaints], [Symbol.asyncDispose]: () => context.close() };
}

/** Opens an address of the console and waits for its heading. */
export async function open(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.locator("h1").waitFor();
  await page.evaluate(() => document.fonts.ready);
}

/** Changes what the media queries of the page see, without a new page. */
export const seenIn = async (page: Page, { width = 1280, dark, forcedColours, reducedMotion }: Ways): Promise<void> => {
  await page.setViewportSize({ width, height: HEIGHT });
  await page.emulateMedia({
    colorScheme: dark === true ? "dark" : "light",
    forcedColors: forcedColours === true ? "active" : "none",
    reducedMotion: reducedMotion === true ? "reduce" : "no-preference",
  });
};
