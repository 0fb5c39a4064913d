/** How admission and permissions treat a sound Job: quotas, Pod Security, and a Role that ends at its namespace. */
import type { Test } from "tap";
import { COMMANDS, type Conforming, casesOf, type Client, clientOf, manifest, type Raw, STRATEGIC } from "./conformance-parts.ts";
import type { ApiAnswer } from "../transport.ts";

export async function admission(t: Test, it: Conforming): Promise<void> {
  const cases = casesOf(t, it);
  quotas(cases, it);
  security(cases, it);
  await cases.settled();
}

function quotas({ test }: ReturnType<typeof casesOf>, { image }: Conforming): void {
  const post = (hand: Client, name: string, query = "") =>
    hand.send("POST", `${hand.jobs}${query}`, { body: manifest(name, image, COMMANDS.succeed) });

  test("a full quota of Jobs is Forbidden, in a sentence and without a cause, and speaks before the name", async (t, hand) => {
    await quota(hand, "few", { "count/jobs.batch": "1" });
    await hand.createUnplaced("fits");
    // The quota's controller may have counted from a view without the Job. Its next count corrects that.
    await untilUsed(hand, "1");
    const message =
      /exceeded quota: few, requested: count\/jobs.batch=1, used: count\/jobs.batch=1, limited: count\/jobs.batch=1/;
    for (const [name, query] of [
      ["one-too-many", ""],
      ["one-too-many", "?dryRun=All"],
      ["fits", ""],
    ] as const) {
      const { status, body } = await post(hand, name, query);
      t.equal(status, 403, `${name}${query}`);
      t.match(body, { reason: "Forbidden", message, details: { name, kind: "jobs" } });
      t.notMatch(body, { details: { causes: [{}] } });
    }
  });

  test("a quota counts a Job that only our hold keeps, and has room again when it is released", async (t, hand) => {
    await quota(hand, "few", { "count/jobs.batch": "1" });
    await hand.createUnplaced("held");
    await hand.deleteJob("held", "Foreground");
    await hand.untilPods("its pods gone", await hand.job("held"), (pods) => pods.length === 0);
    t.equal((await post(hand, "next")).status, 403);
    await hand.release("held");
    await untilRoom(hand);
    await untilAnswered(201, "a Job under a quota that has room", () => post(hand, "next"));
  });

  test("a POST of a name that is taken costs a quota room that nobody uses", async (t, hand) => {
    await quota(hand, "few", { "count/jobs.batch": "3" });
    await hand.createUnplaced("fits");
    t.equal((await post(hand, "fits", "?dryRun=All")).status, 409);
    t.equal((await post(hand, "fits")).status, 409);
    const full = { message: /exceeded quota: few, requested: count\/jobs.batch=1, used: count\/jobs.batch=3/ };
    t.match(await untilAnswered(403, "a name that is taken", () => post(hand, "fits")), full);
    const another = async () => {
      await post(hand, "fits");
      return post(hand, "other", "?dryRun=All");
    };
    t.match(await untilAnswered(403, "another Job, though one Job is there", another), full);
    await hand.deleteJob("fits", "Background");
    await hand.release("fits");
    await untilRoom(hand);
    await untilAnswered(201, "a Job under a quota that has room", () => post(hand, "other"));
  });

  test("a full quota of pods lets the Job in, and Events say why it has no pods", async (t, hand) => {
    await quota(hand, "none", { pods: "0" });
    const job = await hand.createJob("hungry", COMMANDS.succeed);
    const [event] = await failedCreate(hand, job);
    t.match(event?.message, /exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0/);
    t.match(event, { type: "Warning", involvedObject: { kind: "Job", name: "hungry", uid: job.metadata.uid } });
    t.same(await hand.podsOf(job), []);
  });

  test("a quota of cpu refuses pods that do not say what they need", async (t, hand) => {
    await quota(hand, "stated", { "requests.cpu": "4" });
    const [event] = await failedCreate(hand, await hand.createJob("vague", COMMANDS.succeed));
    t.match(event?.message, /failed quota: stated: must specify requests.cpu for: main/);
  });

  test("a quota of cpu refuses pods that need more", async (t, hand) => {
    await quota(hand, "small", { "requests.cpu": "500m" });
    const containers = [{ name: "main", image, command: COMMANDS.succeed, resources: { requests: { cpu: "600m" } } }];
    const job = await hand.createJob("greedy", COMMANDS.succeed, { template: { spec: { restartPolicy: "Never", containers } } });
    const [event] = await failedCreate(hand, job);
    t.match(
      event?.message,
      /exceeded quota: small, requested: requests.cpu=600m, used: requests.cpu=0, limited: requests.cpu=500m/,
    );
  });
}

function security({ test }: ReturnType<typeof casesOf>, it: Conforming): void {
  test("Pod Security lets the Job in with a Warning, and Events say why it has no pods", async (t, hand) => {
    const labels = { "pod-security.kubernetes.io/enforce": "baseline" };
    await hand.must("PATCH", hand.namespace, { contentType: STRATEGIC, body: { metadata: { labels } } });
    const containers = [{ name: "main", image: it.image, command: COMMANDS.succeed, securityContext: { privileged: true } }];
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "probe" }, spec: { containers } };
    await untilAnswered(403, "a privileged pod", () => hand.send("POST", `${hand.pods}?dryRun=All`, { body: pod }));
    const { status, headers, body } = await hand.send("POST", hand.jobs, {
      body: manifest("daring", it.image, COMMANDS.succeed, { template: { spec: { restartPolicy: "Never", containers } } }),
    });
    t.equal(status, 201);
    t.match(headers["warning"], /would violate PodSecurity \\"baseline:latest\\": privileged/);
    const [event] = await failedCreate(hand, body as Raw);
    t.match(event?.message, /violates PodSecurity "baseline:latest": privileged/);
  });

  test("a Role in a namespace may read that namespace and no other", async (t, _, cluster) => {
    const hand = clientOf({ transport: cluster.confined, namespace: cluster.namespace }, it);
    t.match(await hand.must("GET", hand.namespace), { metadata: { name: cluster.namespace, uid: /./ } });
    t.match(await hand.send("GET", "/api/v1/namespaces/kube-system"), {
      status: 403,
      body: { kind: "Status", reason: "Forbidden" },
    });
    t.match(await hand.send("GET", "/api/v1/namespaces"), { status: 403 });
    t.match(await hand.send("GET", "/apis/batch/v1/jobs"), {
      status: 403,
      body: { reason: "Forbidden", message: /cannot list resource "jobs" in API group "batch" at the cluster scope/ },
    });
  });
}

const TRIES_MOST = 1_000;

/**
 * Sends until the answer has this status, and returns its body. Admission has a cache of its own and learns of a change a
 * little later than readers do. The quota controller counts anew at any moment, and gives back room that nobody uses.
 */
async function untilAnswered(status: number, what: string, send: () => Promise<ApiAnswer>): Promise<unknown> {
  let last = 0;
  for (let n = 0; n < TRIES_MOST; n++) {
    const answer = await send();
    if (answer.status === status) return answer.body;
    last = answer.status;
  }
  throw new Error(`${what} was answered ${last} and never ${status}, ${TRIES_MOST} times`);
}

/** Makes a quota and waits until it refuses a probe. */
async function quota(hand: Client, name: string, hard: object): Promise<void> {
  const spec = { hard: { ...hard, "count/configmaps": "0" } };
  const path = `${hand.namespace}/resourcequotas`;
  await hand.must("POST", path, { body: { apiVersion: "v1", kind: "ResourceQuota", metadata: { name }, spec } });
  await hand.untilAll("the quota counted", path, "", ([it]) => it?.status?.used !== undefined);
  const body = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "probe" } };
  const probe = () => hand.send("POST", `${hand.namespace}/configmaps?dryRun=All`, { body });
  await untilAnswered(403, "a ConfigMap under a quota of none", probe);
}

const untilRoom = (hand: Client): Promise<void> => untilUsed(hand, "0");

async function untilUsed(hand: Client, jobs: string): Promise<void> {
  const used = (it: Raw | undefined): string | undefined => it?.status?.used?.["count/jobs.batch"];
  await hand.untilAll(`${jobs} Jobs in the quota`, `${hand.namespace}/resourcequotas`, "", ([it]) => used(it) === jobs);
}

const failedCreate = (hand: Client, job: Raw): Promise<readonly Raw[]> =>
  hand.untilAll("an Event FailedCreate", hand.events, `fieldSelector=involvedObject.uid%3D${job.metadata.uid}`, (found) =>
    found.some((it) => it.reason === "FailedCreate"),
  );
