/** How long a Job may wait for each cause, and how a request may change that time. */
import type { Code } from "@longshore/contract/messages/diagnosis.ts";
import fc from "fast-check";
import t from "tap";
import { DEFAULTS, limitsOf } from "../run/plan.ts";
import { startDueMs, waitsForRoom } from "./timers.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const createdAtMs = 10 * HOUR;
const waitUntilMs = 30 * HOUR;
const due = (code?: Code, stalledAtMs?: number): number =>
  startDueMs({ createdAtMs, waitUntilMs, stall: code && { code }, stalledAtMs, limits: DEFAULTS }) - createdAtMs;

for (const [code, wantMs] of [
  [undefined, 15 * MINUTE],
  ["ImageNotFound", 2 * MINUTE],
  ["ImagePullDenied", 2 * MINUTE],
  ["ImageNameInvalid", 2 * MINUTE],
  ["ConfigMissing", 2 * MINUTE],
  ["AdmissionDenied", 2 * MINUTE],
  ["QuotaImpossible", 0],
  ["QuotaExceeded", 20 * HOUR],
  ["Unschedulable", 20 * HOUR],
  ["RegistryUnreachable", 5 * MINUTE],
  ["VolumeUnavailable", 15 * MINUTE],
  ["Unknown", 15 * MINUTE],
] as const)
  t.test(
    `a Job that ${code === undefined ? "says nothing" : `stands still for ${code}`} is given up ${wantMs / MINUTE} min after its creation`,
    async (t) => {
      t.equal(due(code), wantMs);
    },
  );

t.test("a cause is given its time from when it was seen", async (t) => {
  t.equal(due("ImageNotFound", createdAtMs + 5 * MINUTE), 7 * MINUTE);
});

t.test("a late cause does not make it longer than startWithin", async (t) => {
  t.equal(due("ImageNotFound", createdAtMs + 14 * MINUTE), 15 * MINUTE);
});

t.test("only a cause that passes when others finish waits for room", async (t) => {
  t.ok(waitsForRoom({ code: "QuotaExceeded" }));
  t.ok(waitsForRoom({ code: "Unschedulable" }));
  t.notOk(waitsForRoom({ code: "QuotaImpossible" }));
  t.notOk(waitsForRoom(undefined));
});

t.test("a request's own limits take the place of the defaults, each alone", async (t) => {
  const none = limitsOf({ image: "a" });
  t.same(none, DEFAULTS);
  const some = limitsOf({
    image: "a",
    deadline: "2h",
    retries: { max: 0, backoff: { first: "10m" } },
    keepFor: { failed: "7d" },
  });
  t.match(some, {
    deadlineMs: 2 * HOUR,
    retriesMax: 0,
    backoffFirstMs: 10 * MINUTE,
    keepFailedMs: 7 * 24 * HOUR,
    waitForMs: DEFAULTS.waitForMs,
  });
  t.equal(some.backoffMostMs, 10 * MINUTE, "the longest backoff is not shorter than the first");
});

t.test("every limit of every request is a time to come", async (t) => {
  const duration = fc.option(
    fc.tuple(fc.integer({ min: 0, max: 300 }), fc.constantFrom("ms", "s", "m", "h", "d")).map(([n, unit]) => `${n}${unit}`),
    { nil: undefined },
  );
  fc.assert(
    fc.property(fc.record({ waitFor: duration, startWithin: duration, deadline: duration }), (given) => {
      const request = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
      const numbers = Object.values(limitsOf({ image: "a", ...request })).filter((it) => typeof it === "number");
      return numbers.length === 8 && numbers.every((it) => Number.isSafeInteger(it) && it >= 0);
    }),
  );
  t.pass();
});
