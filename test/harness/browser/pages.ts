/** The console's pages as the story fills them: each is pictured, and judged in each of the ways in which people see it. */
import type { Page } from "playwright-core";
import { RUNS } from "./jobs.ts";

export interface PageOf {
  readonly path: string;
  /** What is done on the page before it is looked at. */
  readonly then?: (page: Page) => Promise<void>;
}

const runAt = (id: string): PageOf => ({ path: `/run?id=${encodeURIComponent(id)}` });
const logIsThere = (page: Page): Promise<void> => page.locator(".log pre").waitFor();

export const PAGES: Readonly<Record<string, PageOf>> = {
  catalogue: { path: "/" },
  start: { path: "/start?definition=customer-export" },
  "start-prepared": { path: `/start?definition=${encodeURIComponent("pocket/refund-report")}` },
  "start-refused": {
    path: "/start?definition=customer-export&minOrder=-5",
    then: async (page) => {
      await page.getByRole("button", { name: "Run", exact: true }).click();
      await page.getByRole("alert").waitFor();
    },
  },
  "run-running": { ...runAt(RUNS.running), then: logIsThere },
  "run-failed": { ...runAt(RUNS.failed), then: logIsThere },
  "run-succeeded": runAt(RUNS.succeeded),
  "run-waiting": runAt(RUNS.waiting),
  "run-stopped": runAt(RUNS.stopped),
  runs: { path: "/runs" },
  "runs-failed": { path: "/runs?outcome=failed" },
  "run-operators": {
    ...runAt(RUNS.failed),
    then: async (page) => await page.getByText("For operators").click(),
  },
  groups: { path: "/groups" },
  "groups-drain": {
    path: "/groups",
    then: async (page) => await page.getByRole("button", { name: "Drain pocket" }).click(),
  },
  health: { path: "/health" },
  numbers: { path: "/numbers" },
  "numbers-request": { path: "/numbers?blame=request" },
  audit: { path: "/audit" },
  unknown: runAt("price-list/unknown"),
  "signed-out": { path: "/signed-out?why=refused&to=/runs" },
};
