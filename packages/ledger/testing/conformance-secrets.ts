/** Sealed secret values: whom they reach, and when they are forgotten. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import type { Test } from "tap";
import type { Intake, Ledger, Work } from "../port.ts";
import {
  begun, cancelled, claimAll, complete, type Conforming, EAST, entry, failed, finish, first, HOUR_MS, placer, restarted, runId, storing, wanted,
} from "./conformance-parts.ts"; // biome-ignore format: a list of names

const FORBIDDEN = diagnose("Forbidden", "The launcher may not create Secrets.");
const SEALED = "sealed values";

function withSecrets(id: string): Intake {
  const secrets = { names: ["token"], since: 1 };
  const anchor = { bytes: 0, keepSucceededMs: 0, keepFailedMs: HOUR_MS, secrets };
  return { ...storing(wanted(id), { claims: [], classes: [], anchor }), sealed: SEALED };
}

/** A restart that gives the values again, from the start. */
function resealed(id: string, sealed: string): Intake {
  const intake = restarted(id, { command: `restart ${id} with ${sealed}` });
  if (intake.admission.kind !== "restart") throw new TypeError("a restart is wanted");
  return { ...intake, admission: { ...intake.admission, from: "start", secretNames: ["token"] }, sealed };
}

/** Places and claims what waits, and returns the sealed values that came with it. */
async function claimedWith(ledger: Ledger): Promise<readonly (string | undefined)[]> {
  await ledger.place({ most: 10, placer });
  return (await claimAll(ledger)).map(({ sealed }) => sealed);
}

/** Whether the ledger still has the values is seen by what a restart answers that does not bring them. */
async function isKept(ledger: Ledger): Promise<boolean> {
  await ledger.prune(100);
  const [answer] = await ledger.admit([restarted("a", { command: "restart without values" })]);
  const isRefused = answer?.kind === "refused" && answer.problems[0]?.code === "SecretsGone";
  const sealed = isRefused
    ? (await ledger.admit([resealed("a", "again")]), await claimedWith(ledger))
    : await claimedWith(ledger);
  return !isRefused && first(sealed) === SEALED;
}

interface Case {
  readonly name: string;
  readonly ends: (ledger: Ledger, work: Work) => Promise<unknown>;
  readonly passMs?: number;
  readonly kept: boolean;
}

const ended = (how: (work: Work) => AttemptInput) => (ledger: Ledger, work: Work) => finish(ledger, work, how);
const CASES: readonly Case[] = [
  { name: "a run that succeeded", ends: ended(complete), kept: false },
  { name: "a run that failed, for as long as it keeps its anchor", ends: ended(failed), kept: true },
  {
    name: "a run that failed, once its anchor is given up",
    ends: async (ledger, work) => {
      await finish(ledger, work, failed);
      await ledger.recordAnchors([{ run: runId("a"), number: 1, input: { kind: "freed" } }]);
    },
    kept: false,
  },
  {
    name: "a run of which nothing was ever there, for as long as it would keep its anchor",
    ends: (ledger, work) =>
      ledger.record([entry(work, { kind: "refused", claimNo: work.attempt.claimNo, diagnosis: FORBIDDEN })]),
    kept: true,
  },
  {
    name: "a run of which nothing was ever there, and no longer",
    ends: (ledger, work) =>
      ledger.record([entry(work, { kind: "refused", claimNo: work.attempt.claimNo, diagnosis: FORBIDDEN })]),
    passMs: HOUR_MS,
    kept: false,
  },
];

export async function secrets(t: Test, { open }: Conforming): Promise<void> {
  const begin = (...intakes: readonly Intake[]) => begun(t, { open }, intakes);

  await t.test("sealed values come with each claim of their run, and with no other's", async (t) => {
    const { ledger } = await begin(withSecrets("a"), wanted("b"));
    t.same(await claimedWith(ledger), [SEALED, undefined]);
    const claimed = await begin(withSecrets("a"));
    const claim = { by: "one", forMs: 30_000, room: new Map([[EAST, 5]]) };
    t.match((await claimed.ledger.place({ most: 10, placer, claim })).works, [{ sealed: SEALED }]);
  });

  await t.test("a request that finds its cancel waiting has its values, and forgets them", async (t) => {
    const { ledger } = await begin(cancelled("a"));
    await ledger.admit([withSecrets("a")]);
    t.equal(await isKept(ledger), false);
  });

  await t.test("a restart that gives values replaces those that were there", async (t) => {
    const { ledger } = await begin(withSecrets("a"));
    await ledger.place({ most: 10, placer });
    await finish(ledger, first(await claimAll(ledger)), failed);
    await ledger.admit([resealed("a", "others")]);
    t.same(await claimedWith(ledger), ["others"]);
    t.match((await ledger.find(runId("a")))?.record.run.plan.storage?.anchor?.secrets, { since: 2 });
  });

  await t.test("nobody who looks at a run sees them", async (t) => {
    const { ledger } = await begin(withSecrets("a"));
    const seen = [await ledger.find(runId("a")), await ledger.story(runId("a"), 0, 100), await ledger.list({ most: 10 })];
    t.notMatch(JSON.stringify(seen), SEALED);
  });

  for (const { name, ends, passMs = 0, kept } of CASES)
    await t.test(`values of ${name}, ${kept ? "are kept" : "are forgotten"}`, async (t) => {
      const { opened, ledger } = await begin(withSecrets("a"));
      await ledger.place({ most: 10, placer });
      await ends(ledger, first(await claimAll(ledger)));
      await opened.pass(passMs);
      t.equal(await isKept(ledger), kept);
    });
}
