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

const unfold = (page: Page): Promise<void> => page.getByText("For developers").click();

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
  "start-developers": {
    path: "/start?definition=customer-export&month=2026-11&sendTo=o'neil@example.com",
    then: (page) => unfold(page),
  },
  "run-succeeded": runAt(RUNS.succeeded),
  "run-waiting": runAt(RUNS.waiting),
  "run-stopped": runAt(RUNS.stopped),
  "run-developers": {
    ...runAt(RUNS.succeeded),
    then: async (page) => {
      await unfold(page);
      await page.getByRole("cell", { name: "run.succeeded" }).waitFor();
    },
  },
  runs: { path: "/runs" },
  "runs-many": {
    path: "/runs?outcome=active",
    then: async (page) => {
      await page.getByRole("button", { name: "Stop all that match" }).click();
      await page.getByText("Runs that come later are not meant.").waitFor();
    },
  },
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
  refused: {
    path: "/refused",
    then: async (page) => {
      await page
        .getByLabel("Check a message")
        .fill(
          '{"specversion":"1.0","id":"1","source":"/shop","type":"dev.longshore.run.requested","data":{"run":"a","definition":"vouchers","parameters":{"second":1}}}',
        );
      await page.getByRole("button", { name: "Check", exact: true }).click();
      await page.getByText("It would be refused").waitFor();
    },
  },
  audit: { path: "/audit" },
  unknown: runAt("price-list/unknown"),
  "signed-out": { path: "/signed-out?why=refused&to=/runs" },
};
