/**
 * Steps with slices on a node that runs real containers: each slice has its index and its item, few may fail, and a cancel or a
 * restart is about all of them.
 */
// needs kubernetes, node
// runs at most 10 min
import t from "tap";
import { only } from "../../harness/kubernetes/admin.ts";
import { BUSYBOX } from "../../harness/kubernetes/images.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { openSystem } from "../../harness/system.ts";
import { attemptOf, jobOf, kubectl, podsOf, sent, shown } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using cloud = await kubernetes({ nodes: "real", shared: true });
const cluster = only(cloud.clusters);
await using system = await openSystem({ clusters: [cluster] });
const { site } = system;
await using _watcher = await system.watcher();
await using _launcher = await system.launcher();

const WITHIN_MS = 240_000;
const sh = (text: string, more: object): object => ({ image: BUSYBOX, command: ["sh", "-c", text], grace: "1s", ...more });
const byIndex = (script: string): string => `case $LONGSHORE_SLICE in ${script} esac`;

await t.test("each slice has its item; the outputs are lists, over which the next step has slices", async (t) => {
  const run = "slices/chain";
  const tell = `printf '{"name":"%s","of":%s}' "$(cut -d'"' -f$((2 * LONGSHORE_SLICE + 2)) "$LONGSHORE_ITEMS")" "$LONGSHORE_SLICES" > /dev/termination-log`;
  await system.command("run.requested", {
    run,
    parameters: { files: ["a", "$(HOME)", "c"] },
    steps: [
      { name: "first", ...sh(tell, { slices: { over: "${{ parameters.files }}" }, outputs: ["name", "of"] }) },
      {
        name: "second",
        needs: ["first"],
        ...sh('grep -q . "$LONGSHORE_ITEMS" && cat "$LONGSHORE_ITEMS"', { slices: { over: "${{ steps.first.outputs.name }}" } }),
      },
    ],
  });
  const { data } = await system.heard("run.succeeded", run, WITHIN_MS);
  t.same((data as { readonly outputs: unknown }).outputs, { first: { name: ["a", "$(HOME)", "c"], of: [3, 3, 3] } });
  const second = await system.heard("run.step.succeeded", run);
  t.match(second.data, { slices: { count: 3, succeeded: 3, failed: "" } });
  t.same(await system.faults([run], { withinMs: WITHIN_MS }), []);
});

await t.test("a step of which one slice may fail succeeds, and names it with its log", async (t) => {
  const run = "slices/tolerated";
  await sent(system, [run], sh(byIndex("1) echo bad item; exit 3;; *) echo fine;;"), { slices: { count: 3, failedMax: 1 } }));
  const { data } = await system.heard("run.succeeded", run, WITHIN_MS);
  t.match(data, {
    slices: {
      count: 3,
      succeeded: 2,
      failed: "1",
      told: [{ index: 1, exitCode: 3, log: { tail: "bad item\n" } }, { index: 0 }, { index: 2 }],
    },
  });
  t.same(await system.faults([run], { withinMs: WITHIN_MS }), []);
});

await t.test("one slice too many fails: the others are ended, and a restart runs all of them again", async (t) => {
  const run = "slices/failed";
  const script = `[ -n "$MENDED" ] && exit 0; ${byIndex("2) exit 7;; *) exec sleep 600;;")}`;
  await sent(system, [run], sh(script, { slices: { count: 3 } }));
  const { data } = await system.heard("run.failed", run, WITHIN_MS);
  t.match(data, {
    exitCode: 7,
    diagnosis: { code: "ExitCode", sentence: "1 of 3 slices failed: 2. Slice 2: The program ended with exit code 7." },
    slices: { count: 3, succeeded: 0, failed: "2" },
  });
  await system.command("run.restart", { run, from: "failed", with: { env: { MENDED: "yes" } } });
  await system.heard("run.succeeded", run, WITHIN_MS);
  const again = await podsOf(site, await jobOf(system, run));
  t.equal(again.length, 3, "all slices");
  t.equal((await attemptOf(system, run)).n, 2);
  t.same(await system.faults([run], { withinMs: WITHIN_MS }), []);
});

await t.test("a slice that fails once is tried again by itself", async (t) => {
  const run = "slices/again";
  const script = `case $TRY in 0) exit 5;; esac`;
  await sent(system, [run], sh(script, { slices: { count: 1, retriesPerSlice: 1 }, env: { TRY: "0" } }));
  const { data } = await system.heard("run.failed", run, WITHIN_MS);
  t.match(data, { slices: { count: 1, failed: "0" } });
  t.equal((await podsOf(site, await jobOf(system, run))).length, 2);
  t.same(await system.faults([run], { withinMs: WITHIN_MS }), []);
});

await t.test("a cancel ends the slices that run, and few that failed before it are no success", async (t) => {
  const run = "slices/cancelled";
  await sent(system, [run], sh(byIndex("0) exit 3;; *) exec sleep 600;;"), { slices: { count: 3, failedMax: 2 } }));
  await system.until("the first slice to have failed", async () =>
    (await shown(site, "pods")).some(({ metadata, status }) => metadata.name.includes("cancelled") && status?.phase === "Failed"),
  );
  await system.command("run.cancel", { run, reason: "enough" });
  await system.heard("run.cancelled", run, WITHIN_MS);
  t.same(
    (await shown(site, "pods")).filter(({ metadata }) => metadata.name.includes("cancelled")),
    [],
  );
  t.same(await system.faults([run], { withinMs: WITHIN_MS }), []);
});

await t.test("more slices than there is room for wait inside their Job", async (t) => {
  const run = "slices/many";
  await kubectl(cluster, site, "create", "quota", "few", "--hard=pods=6");
  await sent(system, [run], sh("true", { slices: { count: 8, parallelism: 8 } }));
  const { data } = await system.heard("run.succeeded", run, WITHIN_MS);
  t.match(data, { slices: { count: 8, succeeded: 8 } });
  t.same(await system.faults([run], { withinMs: WITHIN_MS }), []);
});
