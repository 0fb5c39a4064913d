/**
 * Several groups of one file: preference, fall-through, limits and paces; groups that are paused, drained, or taken out of the
 * file; groups without holds; and a run that an operator abandons.
 */
// runs with integration
// runs at most 12 min
import t from "tap";
import type { ReceivedEvent } from "@longshore/contract/messages/envelope.ts";
import { RunId } from "@longshore/contract/ids.ts";
import { long, named, openGroups, quick } from "./groups-stage.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const PLANS = {
  small: { jobs: 1 },
  large: {},
  slow: { createsPerSecond: 1 },
  strict: { images: ["registry.example.com/*"] },
  loose: { hold: false },
};
await using groups = await openGroups(PLANS);
const { system } = groups;
await using launcher = await system.launcher();
await using _watcher = await system.watcher();
const ask = (run: string, more: object) => system.command("run.requested", { run, ...quick, ...more });

const nameIn = (event: ReceivedEvent | undefined): string =>
  String((event?.data["job"] as { readonly name?: string } | undefined)?.name);

await t.test("the request's order decides; a full group is passed over, and the event says why", async (t) => {
  await system.command("run.requested", { run: "fill", ...long, groups: ["small"] });
  await system.heard("run.started", "fill");
  await ask("prefers", { groups: ["small", "large"] });
  await system.ended(["prefers"]);
  t.match(groups.of("prefers", "run.launched")[0], {
    group: "large",
    data: {
      considered: [
        { group: "small", verdict: "skipped", why: /full: 1 of 1/ },
        { group: "large", verdict: "chosen" },
      ],
    },
  });
  await ask("only-small", { groups: ["small"] });
  t.match((await system.heard("run.waiting", "only-small")).data, { reason: "GroupsFull", considered: [{ group: "small" }] });
  await system.command("run.cancel", { run: "fill" });
  await system.ended(["fill", "only-small"]);
  t.equal(groups.of("only-small", "run.succeeded").length, 1, "a place that became free is taken");
});

await t.test("a run whose image a group does not allow goes to another group, or is refused if no group allows it", async (t) => {
  await ask("image/elsewhere", { groups: ["strict", "large"] });
  await ask("image/nowhere", { groups: ["strict"] });
  await system.ended(["image/elsewhere", "image/nowhere"]);
  t.equal(groups.groupOf("image/elsewhere"), "large");
  t.match(groups.of("image/nowhere", "run.failed")[0]?.data, { started: "no", diagnosis: { code: "PolicyRefused" } });
});

await t.test(
  "runs that a pace does not let through wait as throttled, or go elsewhere; no cluster is called unreachable",
  async (t) => {
    const runs = named("paced", 12);
    await Promise.all(runs.map((run) => ask(run, { groups: ["slow"] })));
    const either = named("paced-or-not", 6);
    await Promise.all(either.map((run) => ask(run, { groups: ["slow", "large"] })));
    await system.ended([...runs, ...either], 120_000);
    const reasons = runs.flatMap((run) => groups.of(run, "run.waiting").map(({ data }) => data["reason"]));
    t.same([...new Set(reasons)], ["Throttled"], "the surplus says why it waits");
    t.ok(
      either.some((run) => groups.groupOf(run) === "large"),
      "what may go elsewhere does not stand in line",
    );
    t.equal(runs.filter((run) => groups.of(run, "run.succeeded").length === 1).length, runs.length);
  },
);

await t.test("a paused group takes nothing new, what runs there goes on, and a restart changes nothing", async (t) => {
  await system.command("run.requested", { run: "goes-on", ...long, groups: ["large"] });
  await system.heard("run.started", "goes-on");
  t.match(await groups.longshore("group", "pause", "large"), { code: 0, out: /large is paused; 1 Job there goes on/ });
  launcher.signal("SIGTERM");
  await launcher.ended;
  await using _again = await system.launcher();
  await ask("paused/waits", { groups: ["large"] });
  t.match((await system.heard("run.waiting", "paused/waits")).data, { reason: "GroupsPaused" });
  await ask("paused/elsewhere", { groups: ["large", "small"] });
  await system.ended(["paused/elsewhere"]);
  t.equal(groups.groupOf("paused/elsewhere"), "small");
  t.match(await groups.longshore("group", "list"), { out: /PAUSED +large/ });
  t.match(await groups.longshore("group", "drain", "large", "--timeout", "1s"), {
    code: 1,
    out: /goes-on runs; to end it: (npx )?longshore runs cancel goes-on[\s\S]*is not empty: 1 running/,
  });
  const drained = groups.longshore("group", "drain", "large", "--timeout", "60s");
  await system.command("run.cancel", { run: "goes-on" });
  t.match(await drained, { code: 0, out: /large is empty, and stays paused/ });
  t.match(await groups.longshore("group", "resume", "large"), { code: 0, out: /takes runs again/ });
  await system.ended(["paused/waits"]);
  t.match(await groups.longshore("group", "pause", "larg"), { code: 1, out: /no group "larg"/ });
});

await using _second = await system.launcher();

await t.test(
  "without a hold a Job carries no finalizer, its end is told all the same, and the event says what is weaker",
  async (t) => {
    await ask("loose/ends", { groups: ["loose"] });
    await system.ended(["loose/ends"]);
    const launched = groups.of("loose/ends", "run.launched")[0];
    t.match(launched?.data, { weaker: ["one-job-per-attempt", "every-end-is-told"] });
    const path = `/apis/batch/v1/namespaces/loose/jobs/${nameIn(launched)}`;
    const job = async () =>
      (await system.site.admin.send({ method: "GET", path }, new AbortController().signal)).body as {
        readonly metadata: { readonly finalizers?: readonly string[]; readonly annotations: Readonly<Record<string, string>> };
        readonly spec: { readonly ttlSecondsAfterFinished?: number };
      };
    await system.until("its release", async () => (await job()).metadata.annotations["longshore.dev/hold"] === "released");
    t.notOk((await job()).metadata.finalizers?.length, "no finalizer");
    t.equal((await job()).spec.ttlSecondsAfterFinished, 3600, "and a time to live only now");
    t.match(await groups.longshore("group", "list"), { out: /loose[\s\S]*hold: false.*one-job-per-attempt.*every-end-is-told/ });
  },
);

await t.test("without a hold, what somebody deletes while it runs is told as deleted or lost, and never as failed", async (t) => {
  await system.command("run.requested", { run: "loose/gone", ...long, groups: ["loose"] });
  await system.heard("run.started", "loose/gone");
  const name = nameIn(groups.of("loose/gone", "run.launched")[0]);
  const path = `/apis/batch/v1/namespaces/loose/jobs/${name}`;
  const body = { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background" };
  await system.site.admin.send({ method: "DELETE", path, body }, new AbortController().signal);
  await system.ended(["loose/gone"]);
  const [end] = system.received.filter((it) => it.subject === "loose/gone" && /run\.(lost|failed)/.test(it.type));
  const told = JSON.stringify([end?.type, end?.data["diagnosis"]]);
  t.match(told, /"run\.lost".*"Gone"|"run\.failed".*"DeletedExternally"/);
});

await t.test("an operator gives a run up: it is lost at once, and its Job is deleted if the cluster answers", async (t) => {
  await system.command("run.requested", { run: "given-up", ...long, groups: ["large"] });
  await system.heard("run.started", "given-up");
  t.match(await groups.longshore("runs", "abandon", "given-up"), { code: 64, out: /as lost/ });
  t.match(await groups.longshore("runs", "abandon", "given-up", "--yes", "--reason", "tired of it"), {
    code: 0,
    out: /lost +tired of it/,
  });
  await system.until(
    "the release of its Job",
    async () =>
      (await system.ledger.find(RunId.parse("given-up")))?.record.attempts.every(({ state }) => state === "done") ?? false,
  );
  t.match(groups.of("given-up", "run.lost")[0]?.data, { reason: "tired of it", diagnosis: { code: "Abandoned" } });
  const path = `/apis/batch/v1/namespaces/large/jobs/${nameIn(groups.of("given-up", "run.launched")[0])}`;
  await system.until("its Job to be gone", async () => {
    const { status } = await system.site.admin.send({ method: "GET", path }, new AbortController().signal);
    return status === 404;
  });
});
