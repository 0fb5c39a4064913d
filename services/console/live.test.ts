import type { Delivery } from "@longshore/broker/port.ts";
import { GroupName, Installation, RunId, TenantName } from "@longshore/contract/ids.ts";
import { writeEvent } from "@longshore/contract/messages/envelope.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t from "tap";
import { openLive } from "./live.ts";

const eventOf = (run: string): Uint8Array =>
  writeEvent({
    ...{ installation: Installation.parse("local"), tenant: TenantName.parse("default"), group: GroupName.parse("pocket") },
    ...{ run: RunId.parse(run), sequence: 1, generation: 1, type: "run.accepted", time: "2026-11-01T10:00:00.000Z" },
    data: { run, steps: ["main"] },
  });

/** A broker that delivers these bodies, one connection after the other; a connection ends with an error. */
function played(...connections: readonly (readonly Uint8Array[])[]) {
  const left = [...connections];
  let acks = 0;
  const ack = async () => void acks++;
  return {
    acks: () => acks,
    status: () => ({ kind: "connected" }) as const,
    async follow(_pattern: string, { signal }: { readonly signal: AbortSignal }) {
      const bodies = left.shift();
      return (async function* () {
        for (const body of bodies ?? []) yield { body, ack } as unknown as Delivery;
        if (bodies !== undefined) throw new Error("cut");
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      })();
    },
  };
}

t.test("a change is told to the run's pages and to those of all runs, and to nobody who has gone", async (t) => {
  const broker = played([eventOf("a"), eventOf("b"), new TextEncoder().encode("no event")], [eventOf("a")]);
  const clock = stepsClock();
  const live = openLive({ broker, clock, log: silentLog });
  const heard: string[] = [];
  live.on("a", ({ data }) => heard.push(`a: ${"run" in data ? data.run : ""}`));
  live.on(undefined, ({ data }) => heard.push(`all: ${"run" in data ? data.run : ""}`));
  const off = live.on("b", () => heard.push("b, who has gone"));
  off();
  const stop = new AbortController();
  const following = live.follow(stop.signal);
  await clock.pass(0);
  t.same(heard, ["all: a", "a: a", "all: b"]);
  t.equal(broker.acks(), 3, "what is no event is taken, too");
  t.notOk(live.isHeard(), "the connection is cut");
  await clock.pass(1_000);
  t.same(heard.slice(3), ["all: a", "a: a"], "it follows again by itself");
  await clock.pass(1_000);
  t.ok(live.isHeard());
  stop.abort();
  await following;
});
