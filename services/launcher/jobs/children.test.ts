/** The pods that a program made itself: they go before its run ends. */
import { RunId, StepName, Uid } from "@longshore/contract/ids.ts";
import { LABELS } from "@longshore/domain/run/marks.ts";
import t, { type Test } from "tap";
import { admit } from "../intake/admit.ts";
import { releasing, succeeded } from "../testing/ended.ts";
import { commandOf, deliveryOf, GROUP, live, NAMESPACE, never, RUN, type Stage } from "../testing/stage.ts";

const parent = { parent: StepName.parse("main"), of: RUN };

/** Makes a pod as a program does that has a token and `run.childLabels`. */
async function makePod(it: Stage, name: string, { parent: step, of } = parent): Promise<void> {
  const body = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: it.parts.keys.childLabels(of, step) },
    spec: { containers: [{ name: "main", image: "busybox" }], terminationGracePeriodSeconds: 5 },
  };
  const path = `/api/v1/namespaces/${NAMESPACE}/pods`;
  const { status } = await it.pocket.transport().send({ method: "POST", path, body }, never);
  if (status !== 201) throw new Error(`the pod was answered ${status}`);
}

const children = (it: Stage) => it.pocket.pods(NAMESPACE).filter(({ metadata }) => metadata.labels?.[LABELS.parent]);

const TOKEN = { serviceAccount: { name: "worker", token: true } };

/** A program with a token that failed, and left two pods behind of which one goes on for an hour. */
async function left(t: Test): Promise<Stage> {
  const it = await live(t, { pods: { startsAfterMs: 0, runsMs: 3_600_000 }, asks: TOKEN });
  const { uid } = it.attempt();
  if (uid === undefined) throw new TypeError("it has no UID");
  await makePod(it, "child-1");
  await makePod(it, "child-2");
  await it.clock.sleep(1_000);
  await it.record({ kind: "failed", evidence: { started: "yes", exitCode: 137 }, uid, rv: "99", group: GROUP });
  return it;
}

t.test("the pods that a killed program made go before its run ends, and nobody else's", async (t) => {
  const it = await left(t);
  await makePod(it, "of-another-step", { ...parent, parent: StepName.parse("other") });
  await makePod(it, "of-another-run", { ...parent, of: RunId.parse("orders/1") });
  t.notOk(it.events().includes("run.failed"), "while they are there");
  await releasing(it, 2_000);
  t.notOk(it.events().includes("run.failed"), "while they end");
  await releasing(it);
  t.equal(it.events().at(-1), "run.failed");
  t.same(
    children(it).map(({ metadata }) => metadata.name),
    ["of-another-run", "of-another-step"],
  );
  t.equal(it.attempt().state, "done");
});

t.test("a launcher that cannot list or delete them tries again, and the run does not end before", async (t) => {
  const it = await left(t);
  for (const on of ["list", "delete"] as const)
    it.pocket.cause({ on, resource: "pods", trouble: { kind: "status", status: 403 } });
  await releasing(it);
  it.pocket.heal();
  it.pocket.cause({ on: "delete", resource: "pods", trouble: { kind: "status", status: 403 } });
  await releasing(it);
  t.match(it.said[0], { message: /refuses a write/, fields: { what: "deleting the pod child-1" } });
  t.equal(children(it).length, 2);
  t.notOk(it.events().includes("run.failed"));
  it.pocket.heal();
  await releasing(it);
  t.equal(it.events().at(-1), "run.failed");
});

t.test("a program that runs on after its run was given up ends before the pods that it made: it could make more", async (t) => {
  const it = await live(t, { pods: { startsAfterMs: 0, onStop: { kind: "ends", afterMs: 10_000 } }, asks: TOKEN });
  await it.clock.sleep(1_000);
  await admit(it.parts)({ ...deliveryOf(commandOf("run.abandon", { run: RUN })), user: "ops" });
  await releasing(it, 3_000);
  await makePod(it, "child-1");
  await releasing(it, 5_000);
  t.match(children(it), [{ metadata: { deletionTimestamp: undefined } }], "while the program runs");
  await releasing(it);
  t.same(it.pocket.pods(NAMESPACE), []);
  t.equal(it.attempt().state, "done");
});

t.test("a pod that does not go, since its node is lost, is named", async (t) => {
  const it = await live(t, { pods: { startsAfterMs: 0, onStop: { kind: "stuck" } }, asks: TOKEN });
  const { uid = Uid.parse("none") } = it.attempt();
  await makePod(it, "child-1");
  await it.clock.sleep(1_000);
  await it.record({ kind: "complete", evidence: { started: "yes", exitCode: 0 }, uid, rv: "99", group: GROUP });
  await releasing(it, 300_000);
  t.match(it.said[0], { message: /do not go/, fields: { run: RUN, step: "main", pods: ["child-1"] } });
  t.notOk(it.events().includes("run.succeeded"));
});

t.test("a program without a token costs no listing of pods", async (t) => {
  const it = await succeeded(t);
  await releasing(it);
  const listed = it.pocket.requests().filter(({ path }) => path.includes(encodeURIComponent(LABELS.parent)));
  t.same(listed, []);
});
