/** What an API server refuses, with the status, reason and causes that our diagnosis reads. */
import type { Test } from "tap";
import {
  COMMANDS,
  type Conforming,
  finalizers,
  HOLD,
  handOf,
  manifest,
  METADATA,
  onlyHeld,
  type Raw,
  STRATEGIC,
} from "./conformance-parts.ts";

const NOBODY = "00000000-0000-4000-8000-000000000000";

export async function refusals(t: Test, { open, image }: Conforming): Promise<void> {
  t.setTimeout(600_000);

  await t.test("a POST may ask for metadata only, and gets the UID, labels and finalizers", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const { status, body } = await hand.send("POST", hand.jobs, {
      body: manifest("half", image, COMMANDS.runOn),
      accept: METADATA,
    });
    t.equal(status, 201);
    t.match(body, { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1" });
    const { metadata, spec } = body as Raw;
    t.equal(spec, undefined);
    t.match(metadata, { name: "half", uid: /./, finalizers: [HOLD], labels: { conformance: "yes" }, resourceVersion: /^\d+$/ });
    t.equal(metadata.uid, (await hand.job("half")).metadata.uid);
  });

  await t.test("a second POST of a name is AlreadyExists", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    await hand.createJob("once", COMMANDS.runOn);
    const { status, body } = await hand.send("POST", hand.jobs, { body: manifest("once", image, COMMANDS.succeed) });
    t.equal(status, 409);
    t.match(body, {
      kind: "Status",
      status: "Failure",
      reason: "AlreadyExists",
      code: 409,
      message: 'jobs.batch "once" already exists',
    });
  });

  await t.test("what is unsound is Invalid, with every field at once", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const { status, body } = await hand.send("POST", hand.jobs, {
      body: {
        metadata: { name: "unsound" },
        spec: { template: { spec: { restartPolicy: "Always", containers: [{ name: "Main" }] } } },
      },
    });
    t.equal(status, 422);
    t.match(body, { reason: "Invalid", details: { kind: "Job", group: "batch", name: "unsound" } });
    const { causes } = (body as { readonly details: { readonly causes: readonly { readonly field: string }[] } }).details;
    const fields = causes.map((it) => it.field);
    for (const it of ["containers[0].name", "containers[0].image", "restartPolicy"])
      t.ok(fields.includes(`spec.template.spec.${it}`), it);
    for (const name of ["Upper", "under_score", "x".repeat(64), "-dash"]) {
      const refused = await hand.send("POST", hand.jobs, { body: manifest(name, image, COMMANDS.succeed) });
      t.match(refused, { status: 422, body: { reason: "Invalid" } }, name);
    }
  });

  await t.test("a dry run says 201 and leaves nothing", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    t.equal((await hand.send("POST", `${hand.jobs}?dryRun=All`, { body: manifest("dry", image, COMMANDS.succeed) })).status, 201);
    t.match(await hand.send("GET", `${hand.jobs}/dry`), {
      status: 404,
      body: { reason: "NotFound", details: { name: "dry", kind: "jobs" } },
    });
  });

  await t.test("a release with another UID changes nothing, and one of a missing Job says so", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    await hand.createJob("theirs", COMMANDS.runOn);
    const body = { metadata: { uid: NOBODY, "$deleteFromPrimitiveList/finalizers": [HOLD] } };
    const refused = await hand.send("PATCH", `${hand.jobs}/theirs`, { contentType: STRATEGIC, body });
    t.match(refused, { status: 422, body: { reason: "Invalid", details: { causes: [{ field: "metadata.uid" }] } } });
    t.same(finalizers(await hand.job("theirs")), [HOLD]);
    t.match(await hand.send("PATCH", `${hand.jobs}/nobody`, { contentType: STRATEGIC, body }), { status: 404 });
  });

  await t.test("a patch of an older version is a Conflict", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await hand.createJob("moved", COMMANDS.runOn);
    const label = (resourceVersion: string, value: string) =>
      hand.send("PATCH", `${hand.jobs}/moved`, {
        contentType: STRATEGIC,
        body: { metadata: { resourceVersion, labels: { moved: value } } },
      });
    await hand.untilJob("an active pod", "moved", (it) => it.status?.active === 1);
    t.match(await label(job.metadata.resourceVersion, "a"), { status: 409, body: { reason: "Conflict" } });
  });

  await t.test("the hold can be put back on a live Job, and not on one under deletion", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    await hand.createJob("stripped", COMMANDS.runOn);
    const hold = (...names: readonly string[]) =>
      hand.send("PATCH", `${hand.jobs}/stripped`, { contentType: STRATEGIC, body: { metadata: { finalizers: names } } });
    await hand.release("stripped");
    t.equal((await hold(HOLD)).status, 200);
    t.equal((await hold("example.com/more")).status, 200);
    t.same([...finalizers(await hand.job("stripped"))].sort(), ["example.com/more", HOLD].sort(), "one is added to the other");
    await hand.deleteJob("stripped", "Foreground");
    await hand.release("stripped");
    await hand.untilJob("the other finalizer alone", "stripped", (it) => finalizers(it).join() === "example.com/more");
    t.match(await hold(HOLD), {
      status: 422,
      body: { reason: "Invalid", message: /no new finalizers can be added if the object is being deleted/ },
    });
    await hand.send("PATCH", `${hand.jobs}/stripped`, {
      contentType: STRATEGIC,
      body: { metadata: { "$deleteFromPrimitiveList/finalizers": ["example.com/more"] } },
    });
    await hand.untilJobGone("stripped");
  });

  await t.test("a spec cannot be changed after its creation", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    await hand.createJob("fixed", COMMANDS.runOn);
    const spec = { template: { spec: { containers: [{ name: "main", image: "other" }] } } };
    const refused = await hand.send("PATCH", `${hand.jobs}/fixed`, { contentType: STRATEGIC, body: { spec } });
    t.match(refused, { status: 422, body: { reason: "Invalid", message: /spec.template.*field is immutable/ } });
  });

  await t.test("a full quota of Jobs is Forbidden, in a sentence and without a cause", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    await quota(hand, "few", { "count/jobs.batch": "1" });
    await hand.createJob("fits", COMMANDS.runOn);
    const { status, body } = await hand.send("POST", hand.jobs, { body: manifest("one-too-many", image, COMMANDS.succeed) });
    t.equal(status, 403);
    t.match(body, {
      reason: "Forbidden",
      message: /exceeded quota: few, requested: count\/jobs.batch=1, used: count\/jobs.batch=1, limited: count\/jobs.batch=1/,
    });
    t.notMatch(body, { details: { causes: [{}] } });
    t.equal(
      (await hand.send("POST", hand.jobs, { body: manifest("fits", image, COMMANDS.succeed) })).status,
      403,
      "the quota speaks before the name",
    );
  });

  await t.test("a full quota of pods lets the Job in, and Events say why it has no pods", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    await quota(hand, "none", { pods: "0" });
    const job = await hand.createJob("hungry", COMMANDS.succeed);
    const [event] = await failedCreate(hand, job);
    t.match(event?.message, /exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0/);
    t.same(await hand.podsOf(job), []);
  });

  await t.test("Pod Security lets the Job in with a Warning, and Events say why it has no pods", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const labels = { "pod-security.kubernetes.io/enforce": "baseline" };
    await hand.must("PATCH", hand.namespace, { contentType: STRATEGIC, body: { metadata: { labels } } });
    const containers = [{ name: "main", image, command: COMMANDS.succeed, securityContext: { privileged: true } }];
    const { status, headers, body } = await hand.send("POST", hand.jobs, {
      body: manifest("daring", image, COMMANDS.succeed, { template: { spec: { restartPolicy: "Never", containers } } }),
    });
    t.equal(status, 201);
    t.match(headers["warning"], /would violate PodSecurity/);
    const [event] = await failedCreate(hand, body as Raw);
    t.match(event?.message, /violates PodSecurity "baseline:latest": privileged/);
  });

  await t.test("a Role in a namespace may read that namespace and no other", async (t) => {
    await using cluster = await open();
    const hand = handOf({ transport: cluster.confined, namespace: cluster.namespace }, image);
    t.match(await hand.must("GET", hand.namespace), { metadata: { name: cluster.namespace, uid: /./ } });
    t.match(await hand.send("GET", "/api/v1/namespaces/kube-system"), {
      status: 403,
      body: { kind: "Status", reason: "Forbidden" },
    });
    t.match(await hand.send("GET", "/apis/batch/v1/jobs"), { status: 403 });
  });

  await t.test("a Job of which only the hold is left may be released twice", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    await hand.createJob("twice", COMMANDS.runOn);
    await hand.deleteJob("twice", "Foreground");
    await hand.untilJob("only the hold left", "twice", onlyHeld);
    t.equal((await hand.release("twice")).status, 200);
    t.equal((await hand.release("twice")).status, 404);
  });
}

type Hand = ReturnType<typeof handOf>;

async function quota(hand: Hand, name: string, hard: object): Promise<void> {
  const path = hand.namespace.concat("/resourcequotas");
  await hand.must("POST", path, { body: { apiVersion: "v1", kind: "ResourceQuota", metadata: { name }, spec: { hard } } });
  await hand.untilAll(
    "the quota in force",
    path,
    `fieldSelector=metadata.name%3D${name}`,
    ([it]) => it?.status?.hard !== undefined,
  );
}

const failedCreate = (hand: Hand, job: Raw): Promise<readonly Raw[]> =>
  hand.untilAll("an Event FailedCreate", hand.events, `fieldSelector=involvedObject.uid%3D${job.metadata.uid}`, (found) =>
    found.some((it) => it.reason === "FailedCreate"),
  );
