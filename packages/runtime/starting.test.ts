/** The wait for servers at the start: what is tried again, what ends the program, and what is said meanwhile. */
import t from "tap";
import type { Log } from "./log.ts";
import { openStarting } from "./starting.ts";
import { stepsClock } from "./testing/steps-clock.ts";

class Outage extends Error {}
const away = () => new Outage("The ledger refused the connection.");

function begun() {
  const clock = stepsClock();
  const stop = new AbortController();
  const warned: unknown[] = [];
  const log = { warn: (_message: string, fields: unknown) => warned.push(fields) } as unknown as Log;
  const starting = openStarting(["broker", "ledger"], {
    clock,
    log,
    signal: stop.signal,
    isOutage: (it): it is Error => it instanceof Outage,
  });
  const says = async (part: string) => await starting.health.parts[part]?.();
  return { clock, stop, warned, starting, says };
}

t.test("an outage is waited for, said to probes at once and logged once a minute", async (t) => {
  const { clock, warned, starting, says } = begun();
  t.match(await says("ledger"), { ready: false, says: "is not asked yet" });
  let isAway = true;
  const opened = starting.reach("ledger", async () => {
    if (isAway) throw away();
    return "open";
  });
  await clock.pass(30_000);
  t.match(await says("ledger"), { ready: false, says: "not reached yet: The ledger refused the connection." });
  t.match(warned, [{ part: "ledger", error: "The ledger refused the connection." }]);
  await clock.pass(61_000);
  t.equal(warned.length, 2);
  isAway = false;
  await clock.pass(6_000);
  t.equal(await opened, "open");
  starting.started({ parts: { ledger: () => ({ ready: true, says: "Postgres" }) } });
  t.match(await says("ledger"), { ready: true, says: "Postgres" });
});

t.test("a refusal ends the program at once", async (t) => {
  const { starting } = begun();
  const refused = new Error("The ledger refuses the password.");
  await t.rejects(
    starting.reach("ledger", () => Promise.reject(refused)),
    refused,
  );
});

t.test("a program that is told to stop waits no longer", async (t) => {
  const { clock, stop, starting } = begun();
  const reaching = starting.reach("broker", () => Promise.reject(away()));
  await clock.pass(1_000);
  const reason = new Error("SIGTERM received");
  stop.abort(reason);
  await t.rejects(reaching, reason);
});
