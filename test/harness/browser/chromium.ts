/**
 * Debian's Chromium without a window, in a Debian tree of the cache, with a profile folder of its own.
 *
 * The failures this prevents: a test of the browser that happens to be installed, with its owner's profile; and browsers that stay
 * behind. All its processes are one group, which ends with the process that asked for the browser.
 */
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { inTime } from "@longshore/cli/embedded/child.ts";
import { leash } from "@longshore/ledger/embedded-postgres.ts";
import { type Browser, chromium as playwright } from "playwright-core";
import { type Say, toStderr } from "../builds/cached.ts";
import { debianTree, inside, lastWords, signalGroup } from "../debian/tree.ts";

const START_WITHIN_MS = 60_000;
const HOME = "/tmp";
const NOBODY = { uid: 65_534, gid: 65_534 };

/** Returns the tree's folder. The part of Chromium without windows needs a third fewer libraries. */
export const chromiumRoot = async (say: Say = toStderr): Promise<string> =>
  await debianTree(
    {
      name: "chromium",
      suite: "bookworm",
      packages: ["chromium-headless-shell"],
      what: "Chromium",
      costs: "one to five minutes, 650 MB",
      otherwise: "run the tests there once",
    },
    say,
  );

const FLAGS = [
  "--no-sandbox", // the sandbox needs rights that a tree of ours does not have; only pages of ours are opened
  "--no-first-run",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-features=Translate,MediaRouter,OptimizationHints",
  "--force-color-profile=srgb",
  "--font-render-hinting=none",
  "--hide-scrollbars",
  `--user-data-dir=${HOME}/profile`,
  "--remote-debugging-address=127.0.0.1",
  "--remote-debugging-port=0",
  "about:blank",
];

export interface TestBrowser extends AsyncDisposable {
  readonly browser: Browser;
}

export async function chromium(): Promise<TestBrowser> {
  await using parts = new AsyncDisposableStack();
  const root = await chromiumRoot();
  const data = await fs.mkdtemp(path.join(tmpdir(), "longshore-browser-"));
  parts.defer(() => fs.rm(data, { recursive: true, force: true, maxRetries: 5 }));
  await fs.chown(data, NOBODY.uid, NOBODY.gid);
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME, LANG: "C.UTF-8" };
  const child = inside(
    { root, data, at: HOME, owner: NOBODY, env },
    `exec /usr/lib/chromium/chromium-headless-shell "$@"`,
    FLAGS,
  );
  const gone = once(child, "exit");
  const { pid } = child;
  if (pid === undefined) throw new Error("unshare did not start: is util-linux installed, and is this root?");
  const leashed = leash(-pid, "KILL");
  parts.defer(async () => {
    signalGroup(pid, "SIGKILL");
    await gone;
    leashed.release();
  });
  const said = lastWords(child);
  const address = new Promise<string>((resolve, reject) => {
    child.stderr?.on("data", () => {
      const [, url] = /DevTools listening on (ws:\S+)\s/.exec(said()) ?? [];
      if (url !== undefined) resolve(url);
    });
    child.once("exit", () => reject(new Error(`Chromium did not start. Its last words:\n${said()}`)));
  });
  const browser = await playwright.connectOverCDP(await inTime(address, START_WITHIN_MS, "the start of Chromium"));
  parts.defer(() => browser.close());
  const kept = parts.move();
  return { browser, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
