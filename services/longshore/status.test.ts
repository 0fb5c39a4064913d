import type { RunRow } from "@longshore/ledger/port.ts";
import t from "tap";
import { endMs, filterFor, STATUS_WORDS, statusOf, statusText, withoutProgram } from "./status.ts";

type Row = Pick<RunRow, "state" | "outcome" | "newest">;
const active = (newest: RunRow["newest"]): Row => ({ state: "active", outcome: undefined, newest });

for (const { name, row, text, tone } of [
  {
    name: "waits for a group that nobody has",
    row: active({ type: "run.waiting", reason: "NoGroup" }),
    text: "WAITING NoGroup",
    tone: "warn",
  },
  { name: "is stuck", row: active({ type: "run.stalled", code: "ImageNotFound" }), text: "STALLED ImageNotFound", tone: "warn" },
  { name: "runs", row: active({ type: "run.started" }), text: "RUNNING" },
  {
    name: "failed, and with which exit code",
    row: { state: "ended", outcome: "failed", newest: { type: "run.failed", code: "ExitCode", exitCode: 3 } },
    text: "FAILED ExitCode 3",
    tone: "bad",
  },
  {
    name: "failed otherwise",
    row: { state: "ended", outcome: "failed", newest: { type: "run.failed", code: "OutOfMemory", exitCode: 137 } },
    text: "FAILED OutOfMemory",
    tone: "bad",
  },
  { name: "is between the steps of a pipeline", row: active({ type: "run.step.succeeded" }), text: "ACTIVE" },
  {
    name: "is being cancelled while it waits",
    row: { state: "cancelling", outcome: undefined, newest: { type: "run.waiting", reason: "NoGroup" } },
    text: "CANCELLING",
  },
  {
    name: "was cancelled as somebody wanted, and no colour warns of that",
    row: { state: "ended", outcome: "cancelled", newest: { type: "run.cancelled", reason: "no need" } },
    text: "CANCELLED",
  },
] as const satisfies readonly { name: string; row: Row; text: string; tone?: string }[]) {
  // biome-ignore format: a table is read down its columns
  const status = statusOf(row);
  t.same(statusText(status), { text, tone: tone as string | undefined }, name);
  t.ok(STATUS_WORDS.includes(status.word), `${name}: the filter knows the word`);
}

t.same(withoutProgram({ word: "succeeded" }), { text: "SUCCEEDED nothing ran", tone: "warn" });

t.same(filterFor("failed"), { outcome: "failed" });
t.same(filterFor("cancelling"), { state: "cancelling" });
t.same(filterFor("stalled"), { state: "active", newest: ["run.stalled"] });
for (const word of STATUS_WORDS) t.ok(filterFor(word).newest?.length !== 0, word);

t.equal(endMs(9_700, 1_000), 9_700, "the told time is the more precise one of two that are near");
t.equal(endMs(60_000, 14_000), 14_000, "nobody was there to tell the end");
t.equal(endMs(60_000, undefined), 60_000);
