/**
 * Another cluster answers at a group's address, or another namespace has the group's name. Nothing is created there, and no
 * event is told from there. Work goes on when the right cluster or namespace is back, or when a person accepts the other one.
 * (Fault 44 in GUARANTEES.md.)
 */
// needs kubernetes, rabbitmq
// runs at most 10 min
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t from "tap";
import path from "node:path";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { longshore } from "../../harness/longshore.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem, type System } from "../../harness/system.ts";
import { attemptOf, lasting, quick, sent } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

interface Switch extends AsyncDisposable {
  readonly port: number;
  /** Sends new connections to this port, and resets the old ones. */
  to(port: number): void;
}

async function openSwitch(first: number): Promise<Switch> {
  let target = first;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    const other = connect(target, "127.0.0.1");
    for (const [one, its] of [
      [socket, other],
      [other, socket],
    ] as const) {
      open.add(one);
      one.on("error", () => its.destroy());
      one.on("close", () => void (open.delete(one), its.destroy()));
      one.pipe(its);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server without a port");
  const cut = (): void => open.forEach((it) => it.resetAndDestroy());
  return {
    port: address.port,
    to(port) {
      target = port;
      cut();
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      cut();
      await closed;
    },
  };
}

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "simulated", clusters: 2, shared: true });
const [right, wrong] = cloud.clusters;
if (right === undefined || wrong === undefined) throw new Error("two clusters were asked for");
const portOf = (url: string): number => Number(new URL(url).port);
const endsOf = ({ received }: System, run: string): readonly string[] =>
  received.filter(({ subject, type }) => subject === run && /succeeded|failed|lost|cancelled/.test(type)).map(({ type }) => type);
const waitsFor = (system: System, run: string, code: string) => (): boolean =>
  system.received.some((it) => it.subject === run && it.type === "run.waiting" && JSON.stringify(it.data).includes(code));

const cases = [
  { name: "that another authority vouches for", authorities: (own: string) => own, code: "TlsUntrusted" },
  { name: "that the same authorities vouch for", authorities: (own: string) => `${own}\n${wrong.ca}`, code: "AuthRejected" },
];

for (const { name, authorities, code } of cases) {
  await t.test(
    `another cluster ${name} answers behind the address: ${code}, nothing ends, and all goes on afterwards`,
    async (t) => {
      await using between = await openSwitch(portOf(right.url));
      const kubernetes = (_url: string, ca: string) =>
        Promise.resolve({ url: `https://127.0.0.1:${between.port}`, ca: authorities(ca) });
      await using system = await openSystem({ brokerUrl: rabbit.url, clusters: [right], through: { kubernetes } });
      await using _watcher = await system.watcher();
      await using _launcher = await system.launcher();
      const of = (run: string): string => `${code.toLowerCase()}/${run}`;
      await sent(system, [of("runs")], lasting("20s"));
      await system.heard("run.started", of("runs"));
      between.to(portOf(wrong.url));
      await sent(system, [of("waits")], quick);
      await system.until(`${code}, told`, waitsFor(system, of("waits"), code));
      t.same(endsOf(system, of("runs")), [], "nothing is said of what runs elsewhere");
      between.to(portOf(right.url));
      t.equal((await system.heard("run.succeeded", of("runs"))).type, "run.succeeded");
      t.equal((await system.heard("run.succeeded", of("waits"))).type, "run.succeeded");
      t.same(await system.faults([of("runs"), of("waits")]), []);
    },
  );
}

/** Runs `longshore group …` as a person types it. */
const group = (system: System, ...args: readonly string[]) =>
  longshore(system.home, "group", ...args, "--config", path.join(system.home, "launcher.yaml"));

await t.test(
  "the namespace is another one of the same name: GroupMoved, nothing is created in it, and its runs are not called gone; accepted, it is used again",
  async (t) => {
    await using system = await openSystem({ brokerUrl: rabbit.url, clusters: [right], accountsElsewhere: true });
    const { site } = system;
    const before = ["moved/runs", "moved/abandoned"];
    {
      await using _watcher = await system.watcher();
      await using _launcher = await system.launcher();
      await sent(system, before, lasting("300s"));
      for (const run of before) await system.heard("run.started", run);
      t.match(await group(system, "accept", "a", "--yes"), { code: 1, err: /a did not move/ });
    }
    for (const run of before)
      await site.ask("PATCH", `jobs/${(await attemptOf(system, run)).name}`, { metadata: { finalizers: null } });
    for (const args of [
      ["delete", "namespace", site.namespace],
      ["create", "namespace", site.namespace],
    ]) {
      const { code, stderr } = await right.kubectl(args);
      t.equal(code, 0, stderr);
    }
    await using _watcher = await system.watcher();
    await using _launcher = await system.launcher();
    await sent(system, ["moved/waits"], quick);
    await system.until("GroupMoved, told", waitsFor(system, "moved/waits", "GroupMoved"));
    t.equal((await system.created()).length, 2, "nothing was created there");
    for (const run of before) t.same(endsOf(system, run), [], "the other namespace says nothing about it");
    await system.command("run.abandon", { run: "moved/abandoned" });
    t.equal((await system.heard("run.lost", "moved/abandoned")).type, "run.lost");

    t.match(await group(system, "list"), { out: /GroupMoved[\s\S]*longshore group accept a/ });
    t.match(await group(system, "drain", "a", "--timeout", "3s"), { code: 1, out: /1 running, 1 to be released/ });
    t.match(await group(system, "resume", "a"), { code: 0 });
    t.match(await group(system, "accept", "a"), { code: 64, err: /1 running, 1 to be released.*Say --yes/ });
    t.match(await group(system, "accept", "a", "--yes"), { code: 0, out: /a is accepted; 1 run ended as lost/ });
    t.match((await system.heard("run.lost", "moved/runs")).data, { diagnosis: { code: "Abandoned" } });
    t.equal((await system.heard("run.succeeded", "moved/waits")).type, "run.succeeded");
    t.match(await group(system, "drain", "a", "--timeout", "60s"), { code: 0, out: /a is empty/ });
    t.equal((await system.created()).length, 3, "one Job in the new namespace, and no occupant");
    t.same((await system.ledger.counts()).strays, 0);
  },
);
