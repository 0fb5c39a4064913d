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
  const said: string[] = [];
  const log = {
    info: (message: string) => said.push(message),
    warn: (_message: string, fields: unknown) => warned.push(fields),
  } as unknown as Log;
  const starting = openStarting(["broker", "ledger"], {
    clock,
    log,
    signal: stop.signal,
    isOutage: (it): it is Error => it instanceof Outage,
  });
  const says = async (part: string) => await starting.health.parts[part]?.();
  return { clock, stop, said, warned, starting, says };
}

t.test("an outage is waited for, said to probes at once and logged once a minute", async (t) => {
  const { clock, said, warned, starting, says } = begun();
  t.match(said, [/^starting: .*broker and ledger/], "one line at once");
  t.match(await says("ledger"), { ready: false, says: "starting" });
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

t.test("each server that is away is named, and not only the first", async (t) => {
  const { clock, stop, warned, starting, says } = begun();
  const opens = { ledger: () => Promise.reject(away()), broker: () => Promise.reject(new Outage("No broker answers.")) };
  const reaching = starting.reachAll(opens);
  await clock.pass(1_000);
  t.same(warned, [
    { part: "ledger", error: "The ledger refused the connection." },
    { part: "broker", error: "No broker answers." },
  ]);
  t.match(await says("broker"), { says: "not reached yet: No broker answers." });
  const reason = new Error("SIGTERM received");
  stop.abort(reason);
  await t.rejects(reaching, reason);
});

t.test("servers that were opened are closed in turn, also if another one refuses", async (t) => {
  const closed: string[] = [];
  const open = (name: string) => async () => ({ [Symbol.asyncDispose]: async () => void closed.push(name) });
  {
    await using _reached = await begun().starting.reachAll({ ledger: open("ledger"), broker: open("broker") });
    t.same(closed, []);
  }
  t.same(closed, ["broker", "ledger"]);
  const refused = new Error("The broker refuses the password.");
  const opens = { ledger: open("the opened ledger"), broker: () => Promise.reject(refused) };
  await t.rejects(begun().starting.reachAll(opens), refused);
  t.same(closed.slice(2), ["the opened ledger"]);
});

t.test("a server that is away is waited for no longer once another one refuses", async (t) => {
  const { starting } = begun();
  const refused = new Error("The broker refuses the password.");
  await t.rejects(starting.reachAll({ ledger: () => Promise.reject(away()), broker: () => Promise.reject(refused) }), refused);
});
