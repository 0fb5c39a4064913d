/**
 * How Kubernetes treats Jobs with a hold, as tests that know only `Transport`.
 *
 * The bug this prevents: a pocket that is kinder than a real cluster. The same tests run against the pocket's model, the pocket
 * over HTTP with processes, and a real API server with controllers and a kubelet. A difference is a bug of the pocket, never a
 * special case in these tests.
 */
import type { Test } from "tap";
import { admission } from "./conformance-admission.ts";
import { deletions } from "./conformance-deletions.ts";
import { endings } from "./conformance-endings.ts";
import { listing } from "./conformance-lists.ts";
import type { Conforming } from "./conformance-parts.ts";
import { owners } from "./conformance-owners.ts";
import { slices } from "./conformance-slices.ts";
import { refusals } from "./conformance-refusals.ts";

export type { Conforming, OpenCluster } from "./conformance-parts.ts";
export { COMMANDS } from "./conformance-parts.ts";

export async function clusterConformance(t: Test, it: Conforming): Promise<void> {
  await t.test(`${it.name}: how a held Job is deleted`, (t) => deletions(t, it));
  await t.test(`${it.name}: how a held Job ends and is released`, (t) => endings(t, it));
  await t.test(`${it.name}: how the indexes of a Job are counted`, (t) => slices(t, it));
  await t.test(`${it.name}: what is refused, and in which words`, (t) => refusals(t, it));
  await t.test(`${it.name}: quotas, Pod Security and permissions`, (t) => admission(t, it));
  await t.test(`${it.name}: what an owner takes with it`, (t) => owners(t, it));
  await t.test(`${it.name}: lists and watches`, (t) => listing(t, it));
}
