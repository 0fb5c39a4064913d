/**
 * The console in a real browser, as people have theirs: narrow and wide, light and dark, with forced colours, without motion, with
 * large text, and by the keyboard alone.
 *
 * The failures this prevents: a page that a part of its people cannot read or use; a second run for a second click; and an update
 * that takes away what somebody is typing.
 */
// needs browser
// runs at most 12 min
import { writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { chromium } from "../harness/browser/chromium.ts";
import { playStory, RUNS } from "../harness/browser/jobs.ts";
import { wrongWith } from "../harness/browser/judge.ts";
import { PAGES } from "../harness/browser/pages.ts";
import { consoleStage } from "../harness/browser/stage.ts";
import { open, seenIn, visit, type Ways } from "../harness/browser/visit.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using chrome = await chromium();
await using stage = await consoleStage();
await playStory(stage);
await using person = await visit(chrome.browser);
const { page } = person;
await open(page, await stage.link("Maren Holt"));

const WAYS: Readonly<Record<string, Ways>> = {
  "wide and light": {},
  "wide and dark": { dark: true },
  "narrow and light": { width: 320 },
  "narrow and dark, without motion": { width: 320, dark: true, reducedMotion: true },
  "in forced colours": { forcedColours: true },
  "narrow, in forced colours of the dark": { width: 320, forcedColours: true, dark: true },
  "with text of twice the size": { largeText: true },
};

const focused = (): Promise<string> =>
  page.evaluate<string>(
    "(({ activeElement: it }) => it.getAttribute('aria-label') ?? (it.labels?.[0] ?? it).textContent.trim())(document)",
  );

/** Presses Tab until this has the focus, as somebody without a mouse does. */
async function tabTo(name: string): Promise<void> {
  const met: string[] = [];
  for (let pressed = 0; pressed < 80; pressed++) {
    await page.keyboard.press("Tab");
    const at = await focused();
    if (at === name || at.startsWith(`${name} `)) return;
    met.push(at);
  }
  throw new Error(`Tab does not come to "${name}", only to ${met.join(" | ")}`);
}

await t.test("by the keyboard alone: sign in, run, stop, and read a failure", async (t) => {
  await page.context().clearCookies();
  await open(page, await stage.link("Priya Nair"));
  t.notMatch(page.url(), /#/, "the link's token stays in no history");
  await tabTo("Run Voucher codes");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Voucher codes" }).waitFor();
  await tabTo("Seconds");
  await page.keyboard.type("600");
  await page.keyboard.press("Enter");
  await page.getByRole("status").getByText("Running").waitFor();
  await tabTo("Stop");
  await page.keyboard.press("Enter");
  await page.getByRole("status").getByText("Stopped").waitFor();
  t.equal(await page.evaluate("document.activeElement.id"), "content", "the focus is not lost with the button");

  await page.reload();
  await tabTo("Find runs by id, Job or label");
  await page.keyboard.type(RUNS.failed);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "The program ended with exit code 74." }).waitFor();
  t.equal(await page.getByRole("heading", { level: 1 }).textContent(), "Price list for resellers");
  t.match(await page.locator(".failure").innerText(), "What it printed is in its log.");
  t.notMatch(await page.locator(".failure > div > p").innerText(), "kubectl", "people here have no cluster to ask");
  await tabTo("Copy for the ticket");
  await page.keyboard.press("Enter");
  const ticket = await page.getByRole("textbox", { name: "What is copied" }).inputValue();
  t.match(ticket, "The program ended with exit code 74.");
  t.match(ticket, "pricing@example.com");
  t.match(ticket, "no space left on device");
  t.match(ticket, "kubectl", "who mends it has one");
  t.match(ticket, page.url());
});

await t.test("whoever may run and not see all finds no way to do what no rule lets them", async (t) => {
  await page.context().clearCookies();
  await open(page, await stage.link("Rosa", "runner"));
  for (const name of ["Who did what", "Groups", "Health"]) t.equal(await page.getByRole("link", { name }).count(), 0, name);
  await page.getByRole("heading", { name: "Catalogue" }).waitFor();
  t.equal(await page.getByRole("link", { name: "See why" }).count(), 0, "another's failure is told, and not opened");
  await open(page, `${stage.url}/runs`);
  await page.getByText("No runs yet").waitFor();
  await open(page, `${stage.url}/run?id=${encodeURIComponent(RUNS.failed)}`);
  await page.getByRole("heading", { name: "No such run" }).waitFor();
  for (const at of ["/audit", "/groups", "/health"]) {
    await open(page, stage.url + at);
    await page.getByRole("heading", { name: "Not open to you" }).waitFor();
  }

  await page.context().clearCookies();
  await open(page, await stage.link("Vic", "viewer"));
  await open(page, `${stage.url}/start?definition=customer-export`);
  await page.getByText("You may see this job and not run it.").waitFor();
  await open(page, `${stage.url}/run?id=${encodeURIComponent(RUNS.running)}`);
  await page.getByRole("status").getByText("Running").waitFor();
  t.equal(await page.getByRole("button", { name: "Stop" }).count(), 0);

  await page.context().clearCookies();
  await open(page, await stage.link("Priya Nair"));
});

await t.test("runs are found by a label or a parameter, and filtered by how they ended", async (t) => {
  await open(page, `${stage.url}/runs`);
  await page.getByRole("link", { name: "Failed", exact: true }).click();
  await page.waitForURL(/outcome=failed/);
  await page.getByRole("link", { name: RUNS.failed }).waitFor();
  t.equal(await page.getByRole("link", { name: RUNS.succeeded }).count(), 0);
  await page.getByRole("textbox", { name: "Find runs by id, Job or label" }).fill("nothing=like-this");
  await page.keyboard.press("Enter");
  await page.getByText("No run is like that.").waitFor();
  await page.getByRole("link", { name: "Who did what" }).click();
  await page.getByRole("heading", { name: "Who did what" }).waitFor();
});

await t.test("pressing Run twice, a reload and Back are one run; other values are another", async (t) => {
  const runs = async (): Promise<number> =>
    (await stage.system.ledger.list({ most: 200 })).filter(({ id }) => id.startsWith("opening-hours/")).length;
  const run = page.getByRole("button", { name: "Run", exact: true });
  await open(page, `${stage.url}/start?definition=opening-hours`);
  await page.reload();
  await run.dblclick();
  await page.waitForURL(/\/run\?/);
  const first = page.url();
  await page.goBack();
  await run.click();
  await page.waitForURL(first);
  await page.goBack();
  await page.reload();
  await run.click();
  await page.waitForURL(first);
  t.equal(await runs(), 1);

  await open(page, `${stage.url}/start?definition=vouchers`);
  await run.click();
  await page.waitForURL(/\/run\?/);
  const second = page.url();
  await page.goBack();
  await page.getByLabel("Seconds").fill("1");
  await run.click();
  await page.getByRole("button", { name: "Run these values as a new run" }).click();
  await page.waitForURL((url) => url.href !== second && url.pathname === "/run");
  t.match(page.url(), /run\?id=vouchers/);
});

await t.test("what is typed, and where, outlasts a hundred updates", async (t) => {
  await open(page, `${stage.url}/`);
  const box = page.getByRole("textbox", { name: "Find runs by id, Job or label" });
  await box.click();
  await page.keyboard.type("newsletter");
  await page.keyboard.press("ArrowLeft");
  let updates = 0;
  page.on("response", (it) => void (it.url().endsWith("/v1/definitions") && updates++));
  const more = async (): Promise<boolean> => {
    await stage.repeatEvent(RUNS.running);
    return updates >= 100;
  };
  await stage.system.until("a hundred updates", more, 5 * 60_000);
  t.equal(await box.inputValue(), "newsletter");
  t.same(await page.evaluate("[document.activeElement.name, document.activeElement.selectionStart]"), ["find", 9]);
});

await t.test("what a screen reader is told of a run are its states, and no line of its log", async (t) => {
  await open(page, `${stage.url}/start?definition=newsletter&seconds=3`);
  await page.evaluate(`(() => {
    globalThis.spoken = new Set();
    const look = () => document.querySelectorAll("[role=status], [role=alert], [role=log], [aria-live]")
      .forEach((it) => it.textContent.trim().length > 0 && spoken.add(it.textContent.trim()));
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  })()`);
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.getByRole("status").getByText("Succeeded").waitFor();
  await page.getByText("list 6 of 6 read").waitFor();
  const spoken = await page.evaluate<readonly string[]>("[...spoken]");
  t.ok(spoken.includes("Running") && spoken.includes("Succeeded"), "each state is told");
  const states = ["Waiting", "Starting", "Running", "Succeeded", "Live", "Loading"];
  t.same(
    spoken.filter((it) => !states.includes(it) && !it.startsWith("Live updates paused")),
    [],
  );
});

await t.test("an operator empties a group by the keyboard, sees how much is left, and resumes it", async (t) => {
  await open(page, `${stage.url}/groups`);
  await tabTo("Drain pocket");
  await page.keyboard.press("Enter");
  await tabTo("Why (optional, shown on this page)");
  await page.keyboard.type("new nodes");
  await page.keyboard.press("Enter");
  await page.getByRole("status").getByText("Draining").waitFor();
  await page.getByText("“new nodes”").waitFor();
  t.match(await page.locator(".of-groups .takes").innerText(), /\d running.*; then it is empty/);
  t.match(await page.locator(".of-groups").innerText(), "by Priya Nair");
  for (const ways of [{}, { width: 320, dark: true }] as const) {
    await seenIn(page, ways);
    t.same(await wrongWith(page, "on sight"), [], "a group that is drained");
  }
  await seenIn(page, {});
  await tabTo("Resume pocket");
  await page.keyboard.press("Enter");
  await page.getByRole("status").getByText("Healthy").waitFor();
  t.match(await stage.system.ledger.groups(), [{ paused: false }]);
});

await t.test("a log is followed while its end is seen, stays where somebody reads, and is saved", async (t) => {
  const [run, shut] = ["prints/on", path.join(stage.system.home, "prints-on")];
  const script = `i=0; while [ ! -e ${shut} ]; do i=$((i+1)); echo "line $i"; sleep 0.02; done`;
  await stage.system.command("run.requested", { run, image: "busybox", command: ["sh", "-c", script] });
  await stage.system.heard("run.started", run);
  await open(page, `${stage.url}/run?id=${encodeURIComponent(run)}`);
  const log = page.locator(".log pre");
  await log.waitFor();
  const lines = async (): Promise<number> => Number(/line (\d+)\s*$/.exec(await log.innerText())?.[1] ?? 0);
  const ofLog = <T>(question: string): Promise<T> =>
    page.evaluate<T>(`((it) => ${question})(document.querySelector(".log pre"))`);
  const belowPx = (): Promise<number> => ofLog("it.scrollHeight - it.scrollTop - it.clientHeight");
  const printsOn = async (more: number): Promise<void> => {
    const from = await lines();
    await stage.system.until(`${more} more lines`, async () => (await lines()) >= from + more);
  };
  await stage.system.until("more than is seen at once", async () => (await lines()) > 150);
  await stage.system.until("its end to be seen", async () => (await belowPx()) < 48);
  const follow = page.getByRole("button", { name: "Follow" });
  t.equal(await follow.getAttribute("aria-pressed"), "true");

  await log.hover();
  await page.mouse.wheel(0, -100_000);
  await stage.system.until("the following to end", async () => (await follow.getAttribute("aria-pressed")) === "false");
  let read = await ofLog("it.scrollTop");
  // The browser lays out what it comes to, and only then knows how high that is.
  await stage.system.until("it to stand still", async () => read === (read = await ofLog("it.scrollTop")));
  await printsOn(50);
  t.equal(await ofLog("it.scrollTop"), read, "nothing moves under the pointer");
  await follow.click();
  await stage.system.until("its end to be seen again", async () => (await belowPx()) < 48);

  const wrap = page.getByRole("button", { name: "Wrap" });
  const space = (): Promise<string> => ofLog("getComputedStyle(it).whiteSpace");
  t.match(await space(), "pre-wrap");
  await wrap.click();
  t.equal(await space(), "pre");
  await wrap.click();

  await writeFile(shut, "");
  await page.getByText("complete", { exact: true }).waitFor();
  t.ok((await lines()) > 200, "what was live stays, though less was recorded");
  t.equal(await follow.count(), 0);
  // The browser of the tests keeps its downloads where the test does not see them.
  await page.evaluate(
    "(({ createObjectURL: make }) => { URL.createObjectURL = (blob) => ((globalThis.saved = blob.text()), make(blob)); })(URL)",
  );
  const [saved] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
  t.equal(saved.suggestedFilename(), "prints-on.log");
  t.match(await page.evaluate<string>("saved"), /^line 1\nline 2\n/);
});

await t.test("a log has its program's colours, which the text alone does not need", async (t) => {
  await open(page, stage.url + (PAGES["run-running"]?.path ?? ""));
  const read = page.locator(".log .green").first();
  await read.waitFor();
  t.equal(await read.innerText(), "read");
  t.match(await page.locator(".log pre").innerText(), /^list 1 of 6 read\n/);
});

await t.test("nothing moves for somebody who wants no motion", async (t) => {
  await seenIn(page, { reducedMotion: true });
  await open(page, stage.url + (PAGES["run-running"]?.path ?? ""));
  t.equal(await page.evaluate("document.getAnimations().length"), 0);
  await seenIn(page, {});
  t.ok(Number(await page.evaluate("document.getAnimations().length")) > 0, "for others the running mark turns");
});

await t.test("each page is right in each of the ways in which people see it", async (t) => {
  for (const [name, at] of Object.entries(PAGES)) {
    await open(page, stage.url + at.path);
    await at.then?.(page);
    for (const [way, ways] of Object.entries(WAYS)) {
      await seenIn(page, ways);
      const isPlain = Object.keys(ways).every((it) => it === "width");
      t.same(await wrongWith(page, isPlain ? "everything" : "on sight"), [], `${name}, ${way}`);
    }
    await seenIn(page, {});
  }
});

t.same(person.complaints(), [], "the browser had nothing to complain of in any test");

await t.test("a violation of the policy would be seen", async (t) => {
  await page.evaluate("try { document.body.innerHTML = '<b>x</b>' } catch {}");
  await stage.system.until("the complaint", () => person.complaints().some((it) => it.includes("require-trusted-types-for")));
  t.pass();
});
