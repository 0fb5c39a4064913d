/**
 * What is wrong with a page as it is seen now: for a reader of the screen, for a finger, and for a narrow screen.
 *
 * The failure this prevents: a page that is checked once by its author's eye, and by nobody after the next change.
 */
import axe from "axe-core";
import type { Page } from "playwright-core";

interface AxeFound {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }[];
}

/** What depends on how a page is seen, and not on its structure. */
const ON_SIGHT = ["color-contrast", "link-in-text-block", "target-size"];

/**
 * Returns everything that is wrong; a test wants nothing. "on sight" leaves out the rules about a page's structure, which is the
 * same in each colour: they take seconds.
 */
export async function wrongWith(page: Page, what: "everything" | "on sight"): Promise<readonly string[]> {
  if (!(await page.evaluate<boolean>("'axe' in globalThis"))) await page.evaluate(axe.source);
  const rules = what === "everything" ? {} : { runOnly: { type: "rule", values: ON_SIGHT } };
  const options = JSON.stringify({ resultTypes: ["violations"], ...rules });
  const { violations } = await page.evaluate<AxeFound>(`axe.run(document, ${options})`);
  return [
    ...violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary = "" }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`),
    ),
    ...(await page.evaluate<readonly string[]>(LAYOUT)),
  ];
}

/** A link within a sentence is as high as its line: other targets are 24 pixels wide and high, or more. */
const LAYOUT = `(() => {
  const { scrollWidth, clientWidth } = document.documentElement;
  const sideways = [...document.querySelectorAll("body *")].filter((it) => it.getBoundingClientRect().right > clientWidth + 1);
  const isInSentence = (it) => it.tagName === "A" && getComputedStyle(it).display === "inline"
    && it.closest("p, dd, .state") !== null && it.closest("p, dd, .state").textContent.trim() !== it.textContent.trim();
  const small = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((it) => !isInSentence(it) && !it.matches(".skip:not(:focus)"))
    .map((it) => [it.matches(".search input") ? it.closest(".search") : it])
    .map(([it]) => [it, it.getBoundingClientRect()])
    .filter(([, { width, height }]) => width > 0 && (width < 24 || height < 24));
  return [
    ...(scrollWidth > clientWidth ? ["scrolls sideways to " + scrollWidth + " by " + (sideways[0]?.outerHTML.slice(0, 160) ?? "")] : []),
    ...small.map(([it, { width, height }]) => "a target of " + width + " × " + height + ": " + it.outerHTML.slice(0, 160)),
  ];
})()`;
