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
  /** Text of twice the size, as a person sets it in the browser. */
  readonly largeText?: boolean;
}

export interface Visit extends AsyncDisposable {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Everything that the browser complained of so far: violations of the policy, errors of scripts, words of the console. */
  complaints(): readonly string[];
}

const HEIGHT = 900;

export async function visit(browser: Browser): Promise<Visit> {
  const context = await browser.newContext({ viewport: { width: 1280, height: HEIGHT } });
  const complaints: string[] = [];
  await context.exposeFunction("longshoreComplain", (text: string) => void complaints.push(text));
  await context.addInitScript({
    content: `addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) =>
      longshoreComplain("the policy's " + violatedDirective + " was violated by " + blockedURI + " " + sample));`,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => complaints.push(`the script failed: ${error.message}`));
  page.on("console", (message) => {
    // An answer of 4xx is told to the person by the page; the browser tells it to developers, too.
    const isAnswer = /responded with a status of 4\d\d/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !isAnswer) complaints.push(`the browser says: ${message.text()}`);
  });
  return { page, context, complaints: () => [...complaints], [Symbol.asyncDispose]: () => context.close() };
}

/** Opens an address of the console and waits for its heading. */
export async function open(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.locator("h1").waitFor();
  await page.evaluate("document.fonts.ready.then(() => undefined)");
}

/** Changes how the page is seen, without a new page. */
export const seenIn = async (page: Page, ways: Ways): Promise<void> => {
  const { width = 1280, dark, forcedColours, reducedMotion, largeText } = ways;
  await page.setViewportSize({ width, height: HEIGHT });
  await page.emulateMedia({
    colorScheme: dark === true ? "dark" : "light",
    forcedColors: forcedColours === true ? "active" : "none",
    reducedMotion: reducedMotion === true ? "reduce" : "no-preference",
  });
  const session = await page.context().newCDPSession(page);
  await session.send("Page.setFontSizes", { fontSizes: { standard: largeText === true ? 32 : 16 } });
  await session.detach();
  // A colour on its way from one theme to the other belongs to neither. In a part that is folded up, none ever arrives.
  await page.evaluate(
    "Promise.allSettled(document.getAnimations().filter((it) => it instanceof CSSTransition && it.effect.target.checkVisibility()).map((it) => it.finished)).then(() => undefined)",
  );
};
