/**
 * The rules that every ledger must keep, on Postgres and in the model alike.
 *
 * The bug this prevents: a simulation that proves the loops against a ledger that behaves better than the real one.
 */
import type { Test } from "tap";
import { admitting } from "./conformance-admit.ts";
import { anchors } from "./conformance-anchors.ts";
import { moving } from "./conformance-moved.ts";
import { limiting } from "./conformance-concurrency.ts";
import type { Conforming } from "./conformance-parts.ts";
import { discovering } from "./conformance-prepared.ts";
import { recording } from "./conformance-record.ts";
import { secrets } from "./conformance-secrets.ts";
import { outbox, people } from "./conformance-tell.ts";
import { turns } from "./conformance-turns.ts";
import { taking } from "./conformance-work.ts";

export async function ledgerConformance(t: Test, it: Conforming): Promise<void> {
  await t.test(`${it.name}: what was said`, (t) => admitting(t, it));
  await t.test(`${it.name}: what happened to attempts`, (t) => recording(t, it));
  await t.test(`${it.name}: what is due`, (t) => taking(t, it));
  await t.test(`${it.name}: whose turn it is`, (t) => turns(t, it));
  await t.test(`${it.name}: how many of one key go on`, (t) => limiting(t, it));
  await t.test(`${it.name}: what became of moved groups`, (t) => moving(t, it));
  await t.test(`${it.name}: what owns the volumes of runs`, (t) => anchors(t, it));
  await t.test(`${it.name}: what a run keeps to itself`, (t) => secrets(t, it));
  await t.test(`${it.name}: what can be run by name`, (t) => discovering(t, it));
  await t.test(`${it.name}: what is to be told`, (t) => outbox(t, it));
  await t.test(`${it.name}: what people and the tally ask`, (t) => people(t, it));
}
