/** When a quota is charged and when it counts again. That takes minutes, for which the suite of real clusters cannot wait. */
import { virtualClock } from "@longshore/kubernetes/testing/virtual-clock.ts";
import t from "tap";
import { createModel } from "../testing/model.ts";
import { instantPods } from "../testing/scripted.ts";

const SPACE = "/api/v1/namespaces/default";
const JOBS = "/apis/batch/v1/namespaces/default/jobs";
const forever = new AbortController().signal;

function open() {
  const clock = virtualClock();
  const model = createModel({ clock, kubelet: instantPods(clock) });
  const transport = model.transport();
  const post = async (path: string, body: object): Promise<number> =>
    (await transport.send({ method: "POST", path, body }, forever)).status;
  return {
    clock,
    model,
    quota: (hard: object) => post(`${SPACE}/resourcequotas`, { metadata: { name: "few" }, spec: { hard } }),
    job: (name: string, more: object = {}) => {
      const template = { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "busybox" }] } };
      return post(JOBS, { metadata: { name }, spec: { template, ...more } });
    },
    used: async (): Promise<unknown> => {
      const { body } = await transport.send({ method: "GET", path: `${SPACE}/resourcequotas/few` }, forever);
      return (body as { readonly status: { readonly used?: unknown } }).status.used;
    },
  };
}

t.test("the room that a taken name cost comes back when the quota counts again, after five minutes", async (t) => {
  const { clock, model, quota, job, used } = open();
  await using _ = model;
  await quota({ "count/jobs.batch": "2" });
  await clock.sleep(1_000);
  t.equal(await job("one", { suspend: true }), 201);
  t.equal(await job("one", { suspend: true }), 409);
  t.equal(await job("two", { suspend: true }), 403);
  t.same(await used(), { "count/jobs.batch": "2" });
  await clock.sleep(301_000);
  t.same(await used(), { "count/jobs.batch": "1" });
  t.equal(await job("two", { suspend: true }), 201);
});

t.test("a pod that ended takes no room of a quota of pods, and one that waits for room is made then", async (t) => {
  const { clock, model, quota, job } = open();
  await using _ = model;
  await quota({ pods: "1" });
  await clock.sleep(1_000);
  await job("one");
  await job("two");
  await clock.sleep(60_000);
  t.match(model.jobs(), [{ status: { succeeded: 1 } }, { status: { succeeded: 1 } }]);
});

t.test("a quota refuses nothing before it was counted once", async (t) => {
  const { clock, model, quota, job, used } = open();
  await using _ = model;
  await quota({ "count/jobs.batch": "0" });
  t.equal(await job("early", { suspend: true }), 201);
  await clock.sleep(1_000);
  t.same(await used(), { "count/jobs.batch": "1" });
  t.equal(await job("late", { suspend: true }), 403);
});
