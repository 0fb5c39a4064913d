/**
 * A restart's corrections reach the pod: image, env, resources and deadline. Everything else stays, and so does the run's
 * trace. By messages, on the pocket cluster, where programs really run.
 *
 * The failure this prevents: a correction that is accepted, recorded and told, and that never reached a container.
 */
// runs at most 6 min
import { writeCommand } from "@longshore/contract/messages/envelope.ts";
import { RunId } from "@longshore/contract/ids.ts";
import t from "tap";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using system = await openSystem();
await using _watcher = await system.watcher();
await using _launcher = await system.launcher();

interface Job {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly activeDeadlineSeconds: number;
    readonly template: {
      readonly spec: {
        readonly terminationGracePeriodSeconds?: number;
        readonly containers: readonly [
          { readonly image: string; readonly command: readonly string[]; readonly resources: object },
        ];
      };
    };
  };
}

/** Returns the Jobs of the run's attempts that ended by themselves, in the attempts' order: a deadline takes the Job away. */
async function jobsOf(run: string): Promise<readonly Job[]> {
  const all = (await system.ledger.find(RunId.parse(run)))?.record.attempts ?? [];
  const attempts = all.filter(({ cause }) => cause !== "deadline");
  return await Promise.all(attempts.map(async ({ name }) => (await system.site.ask("GET", `jobs/${name}`)) as Job));
}

const TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SAYS = `printf '{"mode":"%s","kept":"%s","trace":"%s"}' "$MODE" "$KEPT" "$TRACEPARENT" > /dev/termination-log; test "$MODE" = right`;
const command = ["sh", "-c", SAYS];

await t.test("a run that failed runs again with what was corrected, and with all that was not", async (t) => {
  const run = "restart/corrected";
  const data = {
    run,
    image: "demo/app:1",
    command,
    env: { MODE: "wrong", KEPT: "yes" },
    resources: { limits: { memory: "64Mi", cpu: "1" } },
    deadline: "1h",
  };
  const body = writeCommand({ id: "traced", source: "/tests", type: "run.requested", data, traceparent: TRACE });
  await system.broker.publish(
    "commands",
    { id: "traced", key: "any", body, correlationId: "order 7" },
    new AbortController().signal,
  );
  await system.heard("run.failed", run);
  const corrections = { image: "demo/app:2", env: { MODE: "right" }, resources: { limits: { memory: "128Mi" } }, deadline: "2h" };
  await system.command("run.restart", { run, from: "failed", with: corrections });

  const end = await system.heard("run.succeeded", run);
  t.match(end, { generation: 2, data: { outputs: { mode: "right", kept: "yes", trace: TRACE } } });
  const [before, after] = await jobsOf(run);
  const containerOf = (job: Job | undefined) => job?.spec.template.spec.containers[0];
  t.match(containerOf(before), { image: "demo/app:1", command, resources: { limits: { memory: "64Mi", cpu: "1" } } });
  t.match(containerOf(after), { image: "demo/app:2", command, resources: { limits: { memory: "128Mi", cpu: "1" } } });
  t.equal((after?.spec.activeDeadlineSeconds ?? 0) - (before?.spec.activeDeadlineSeconds ?? 0), 3_600);
  const told = system.received.filter(({ subject }) => subject === run);
  t.same([...new Set(told.map(({ traceparent }) => traceparent))], [TRACE], "each event is of the run's trace");
  t.same([...new Set(told.map(({ correlationId }) => correlationId))], ["order 7"], "each event carries the sender's own mark");
});

await t.test("a run that ran too long runs to its end with a longer deadline", async (t) => {
  const run = "restart/longer";
  await system.command("run.requested", { run, image: "demo/slow:1", command: ["sh", "-c", "sleep 4"], deadline: "1s" });
  t.match(await system.heard("run.failed", run), { data: { diagnosis: { code: "DeadlineExceeded" } } });
  await system.command("run.restart", { run, from: "failed", with: { deadline: "5m" } });
  t.match(await system.heard("run.succeeded", run), { generation: 2 });
  t.same(await system.faults([run]), []);
});

await t.test("the steps of a pipeline have limits and labels of their own, and a restart corrects one of them", async (t) => {
  const run = "restart/steps";
  const slow = { image: "demo/slow:1", command: ["sh", "-c", "sleep 4"] };
  const own = { ...slow, name: "own", deadline: "1s", labels: { "example.org/part": "own" }, grace: "7s" };
  await system.command("run.requested", { run, steps: [own, { ...slow, name: "plain" }], labels: { "example.org/of": "all" } });
  await system.heard("run.step.succeeded", run);
  t.match(await system.heard("run.failed", run), { data: { step: "own", diagnosis: { code: "DeadlineExceeded" } } });
  const restarted = { run, from: "failed" };
  await system.command("run.restart", { ...restarted, with: { deadline: "5m" } });
  const refused = () => system.received.find(({ type }) => type === "command.refused");
  await system.until("the refusal", () => refused() !== undefined);
  t.match(refused()?.data, { problems: [{ path: "/data/with/deadline", message: /several steps: say which one/ }] });
  await system.command("run.restart", { ...restarted, with: { steps: { own: { deadline: "5m" } } } });
  t.match(await system.heard("run.succeeded", run), { generation: 2 });
  const shown = (await jobsOf(run)).map(({ metadata: { labels }, spec: { template } }) => [
    labels["example.org/of"],
    labels["example.org/part"],
    template.spec.terminationGracePeriodSeconds,
  ]);
  t.same(
    shown.toSorted((one, other) => String(one).localeCompare(String(other))),
    [
      ["all", undefined, 30],
      ["all", "own", 7],
    ],
  );
  t.same(await system.faults([run]), []);
});

await t.test("a second restart corrects what was requested, not what the first one corrected", async (t) => {
  const run = "restart/twice";
  await system.command("run.requested", { run, image: "demo/app:1", command, env: { MODE: "wrong" } });
  await system.heard("run.failed", run);
  await system.command("run.restart", { run, from: "failed", with: { env: { KEPT: "once" } } });
  const failed = (generation: number) =>
    system.received.some((it) => it.subject === run && it.type === "run.failed" && it.generation === generation);
  await system.until("the end of the second generation", () => failed(2));
  await system.command("run.restart", { run, from: "failed", with: { env: { MODE: "right" } } });
  t.match(await system.heard("run.succeeded", run), { generation: 3, data: { outputs: { mode: "right", kept: "" } } });
  t.same(await system.faults([run]), []);
});

await t.test("a restart corrects a parameter, and the outputs of steps that stay are there", async (t) => {
  const run = "restart/parameters";
  await system.command("run.requested", {
    run,
    parameters: { mode: "wrong", tidy: false },
    outputs: { said: "${{ steps.use.outputs.said }}" },
    steps: [
      {
        name: "load",
        image: "demo/load:1",
        command: ["sh", "-c", `printf '{"rows":7}' > /dev/termination-log`],
        outputs: ["rows"],
      },
      {
        name: "use",
        needs: ["load"],
        image: "demo/use:1",
        command: ["sh", "-c", `test $1 = right && printf '{"said":"%s %s"}' $1 $2 > /dev/termination-log`, "sh"],
        args: ["${{ parameters.mode }}", "${{ steps.load.outputs.rows }}"],
        outputs: ["said"],
      },
      { name: "tidy", needs: ["use"], if: "${{ parameters.tidy }}", image: "demo/tidy:1", command: ["sh", "-c", "exit 9"] },
    ],
  });
  await system.heard("run.failed", run);
  await system.command("run.restart", { run, from: "failed", with: { parameters: { mode: "right" } } });
  t.match(await system.heard("run.succeeded", run), { generation: 2, data: { outputs: { said: "right 7" } } });
  const loads = (await jobsOf(run)).filter(({ metadata }) => metadata.labels["longshore.dev/step"] === "load");
  t.equal(loads.length, 1, "the step that succeeded is not run again");
  t.same(await system.faults([run]), []);
});
