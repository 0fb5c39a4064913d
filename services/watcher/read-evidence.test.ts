/** Logs that are read before they are needed, and the log that is published with an end. */
import { EVENTS } from "@longshore/contract/messages/event.ts";
import type { LogTail } from "@longshore/contract/messages/fact.ts";
import { GroupName, Uid } from "@longshore/contract/ids.ts";
import type { LogWanted } from "@longshore/domain/watch/facts.ts";
import t from "tap";
import { openLogs } from "./read-evidence.ts";
import type { Watched } from "./parts.ts";

const never = new AbortController().signal;
const uid = (n: number): Uid => Uid.parse(`uid-${n}`);
const of = (pod: string, container = "main"): LogWanted => ({ kind: "logs", pod, container });
const gone: LogTail = { state: "unavailable", lines: 0, tail: "" };

/** A cluster in which a pod's log is the pod's name, while the pod exists. */
function reading() {
  const asked: string[] = [];
  const pods = new Set(["one", "two"]);
  const cluster: Pick<Watched, "name" | "tailLog"> = {
    name: GroupName.parse("a"),
    tailLog: async ({ pod, container }) => {
      asked.push(`${pod}/${container}`);
      return pods.has(pod) ? { state: "complete", lines: 1, tail: pod } : gone;
    },
  };
  return { asked, pods, logs: openLogs(cluster as Watched) };
}

t.test("a log that was read early is told though the pod is gone, even if nobody knows the pod's name any more", async (t) => {
  for (const wanted of [of("one"), undefined]) {
    const { asked, pods, logs } = reading();
    await logs.readEarly(uid(1), of("one"), never);
    pods.delete("one");
    t.match(await logs.ofEnd(uid(1), wanted, never), { tail: "one" });
    t.same(asked, ["one/main"]);
  }
});

t.test("a log is read once, however often the Job changes before it ends", async (t) => {
  const { asked, logs } = reading();
  for (let n = 0; n < 5; n++) await logs.readEarly(uid(1), of("one"), never);
  t.same(asked, ["one/main"]);
});

t.test("a log that could not be read early is read when it is wanted", async (t) => {
  const { asked, pods, logs } = reading();
  pods.delete("one");
  await logs.readEarly(uid(1), of("one"), never);
  pods.add("one");
  t.match(await logs.ofEnd(uid(1), of("one"), never), { tail: "one" });
  t.same(asked, ["one/main", "one/main"]);
});

t.test("a long log's end is told in as many bytes as the contract says, and without half a character", async (t) => {
  const tailLog: Watched["tailLog"] = async () => ({ state: "complete", lines: 1, tail: `${"ü".repeat(20_000)}!` });
  const told = await openLogs({ tailLog } as Watched).ofEnd(uid(1), of("one"), never);
  t.same(told, { state: "truncated", lines: 1, tail: `${"ü".repeat(8191)}!` });
  t.match(EVENTS["run.failed"].shape.log.unwrap().description, "at most 16 KiB");
});

t.test("the log of another pod or container is not told in its place", async (t) => {
  for (const wanted of [of("two"), of("one", "init")]) {
    const { asked, logs } = reading();
    await logs.readEarly(uid(1), of("one"), never);
    t.match(await logs.ofEnd(uid(1), wanted, never), { tail: wanted.pod });
    t.equal(asked.length, 2);
  }
});

t.test("without a pod, and with nothing read, there is no log and no request", async (t) => {
  const { asked, logs } = reading();
  t.equal(await logs.ofEnd(uid(1), undefined, never), undefined);
  t.same(asked, []);
});

t.test("an end that is told again reads its log again: a log is kept for one telling", async (t) => {
  const { asked, logs } = reading();
  await logs.readEarly(uid(1), of("one"), never);
  await logs.ofEnd(uid(1), of("one"), never);
  await logs.ofEnd(uid(1), of("one"), never);
  t.equal(asked.length, 2);
});

t.test("few logs are kept of a thousand Jobs whose ends do not come, and none is lost for that", async (t) => {
  const { asked, logs } = reading();
  for (let n = 0; n < 1_000; n++) await logs.readEarly(uid(n), of("one"), never);
  t.match(await logs.ofEnd(uid(999), of("one"), never), { tail: "one" });
  t.equal(asked.length, 1_000, "the newest is there");
  t.match(await logs.ofEnd(uid(0), of("one"), never), { tail: "one" });
  t.equal(asked.length, 1_001, "the oldest is read again");
});
