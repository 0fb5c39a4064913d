/** An API server's answers to a create and to a patch, with the status, reason and causes that our diagnosis reads. */
import type { Test } from "tap";
import type { Conforming, Client, Raw } from "./conformance-parts.ts";
import { COMMANDS, casesOf, finalizers, HOLD, manifest, METADATA, onlyHeld, STRATEGIC } from "./conformance-parts.ts";

const NOBODY = "00000000-0000-4000-8000-000000000000";
const RELEASED = { "$deleteFromPrimitiveList/finalizers": [HOLD] };

export async function refusals(t: Test, it: Conforming): Promise<void> {
  const cases = casesOf(t, it);
  creating(cases, it);
  patching(cases);
  await cases.settled();
}

function creating({ test }: ReturnType<typeof casesOf>, { image }: Conforming): void {
  test("a POST may ask for metadata only, and gets the UID, labels and finalizers", async (t, hand) => {
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

  test("a second POST of a name is AlreadyExists, also as a dry run, and what stands there can be read", async (t, hand) => {
    const annotations = { "example.com/proof": "a long line of letters" };
    const first = manifest("once", image, COMMANDS.succeed) as { readonly metadata: object };
    const job = await hand.must("POST", hand.jobs, { body: { ...first, metadata: { ...first.metadata, annotations } } });
    for (const query of ["", "?dryRun=All"]) {
      const { status, body } = await hand.send("POST", `${hand.jobs}${query}`, {
        body: manifest("once", image, COMMANDS.succeed),
      });
      t.equal(status, 409);
      t.match(body, {
        kind: "Status",
        status: "Failure",
        reason: "AlreadyExists",
        code: 409,
        message: 'jobs.batch "once" already exists',
        details: { name: "once", group: "batch", kind: "jobs" },
      });
    }
    for (const accept of ["application/json", METADATA]) {
      const { status, body } = await hand.send("GET", `${hand.jobs}/once`, { accept });
      t.equal(status, 200);
      const { metadata } = body as Raw;
      t.match(metadata, { uid: job.metadata.uid, annotations, labels: { conformance: "yes" } });
    }
  });

  test("what is unsound is Invalid, with every field at once", async (t, hand) => {
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

  test("a value of another type is a BadRequest that names nothing", async (t, hand) => {
    const body = manifest("mistyped", image, COMMANDS.succeed, { backoffLimit: "none" });
    const answer = await hand.send("POST", hand.jobs, { body });
    const message =
      /Job in version "v1" cannot be handled as a Job: .* cannot unmarshal string into .*spec.backoffLimit of type int32/;
    t.match(answer, { status: 400, body: { reason: "BadRequest", message, details: undefined } });
  });

  test("a field that nobody knows is taken with a Warning, and dropped", async (t, hand) => {
    const body = manifest("misspelt", image, COMMANDS.succeed, { backofLimit: 3 });
    const answer = await hand.send("POST", hand.jobs, { body });
    t.equal(answer.status, 201);
    t.match(answer.headers["warning"], /^299 - "unknown field \\"spec.backofLimit\\""$/);
    t.match(answer.body, { spec: { backofLimit: undefined } });
  });

  test("a template that was copied from another Job is Invalid", async (t, hand) => {
    const { spec } = await hand.createUnplaced("original");
    const refused = await hand.send("POST", hand.jobs, {
      body: { metadata: { name: "copy" }, spec: { template: spec?.template, backoffLimit: 0 } },
    });
    t.match(refused, { status: 422, body: { reason: "Invalid" } });
    t.ok(fieldsOf(refused.body).includes("spec.template.metadata.labels[batch.kubernetes.io/controller-uid]"));
  });

  test("a dry run says 201 and leaves nothing", async (t, hand) => {
    t.equal((await hand.send("POST", `${hand.jobs}?dryRun=All`, { body: manifest("dry", image, COMMANDS.succeed) })).status, 201);
    t.match(await hand.send("GET", `${hand.jobs}/dry`), {
      status: 404,
      body: { reason: "NotFound", details: { name: "dry", kind: "jobs" } },
    });
  });

  test("a POST into what is no namespace names the namespace", async (t, hand) => {
    const path = "/apis/batch/v1/namespaces/conformance-nowhere/jobs";
    const posted = await hand.send("POST", path, { body: manifest("lost", image, COMMANDS.succeed) });
    t.match(posted, { status: 404, body: { reason: "NotFound", details: { name: "conformance-nowhere", kind: "namespaces" } } });
    t.match(await hand.send("GET", `${path}/lost`), { status: 404, body: { details: { name: "lost", kind: "jobs" } } });
  });
}

function patching({ test }: ReturnType<typeof casesOf>): void {
  const patch = (hand: Client, name: string, body: object, accept?: string) =>
    hand.send("PATCH", `${hand.jobs}/${name}`, { contentType: STRATEGIC, body, ...(accept === undefined ? {} : { accept }) });

  test("a release with another UID changes nothing, and one of a missing Job says so", async (t, hand) => {
    await hand.createUnplaced("theirs");
    const body = { metadata: { uid: NOBODY, ...RELEASED } };
    for (const then of ["while it lives", "while it is being deleted"]) {
      const refused = await patch(hand, "theirs", body);
      t.match(refused, { status: 422, body: { reason: "Invalid" } }, then);
      t.ok(fieldsOf(refused.body).includes("metadata.uid"), then);
      t.same(finalizers(await hand.job("theirs")), [HOLD]);
      await hand.deleteJob("theirs", "Background");
    }
    t.match(await patch(hand, "nobody", body), { status: 404, body: { reason: "NotFound", details: { name: "nobody" } } });
  });

  test("a release may ask for metadata only, and so may a delete and a read", async (t, hand) => {
    const job = await hand.createUnplaced("half");
    const half = { kind: "PartialObjectMetadata", metadata: { uid: job.metadata.uid } };
    const answers = [
      await hand.send("GET", `${hand.jobs}/half`, { accept: METADATA }),
      await hand.send("DELETE", `${hand.jobs}/half`, { accept: METADATA, body: { propagationPolicy: "Foreground" } }),
      await patch(hand, "half", { metadata: { uid: job.metadata.uid, ...RELEASED } }, METADATA),
    ];
    for (const { status, body } of answers) {
      t.equal(status, 200);
      t.match(body, half);
      t.equal((body as Raw).spec, undefined);
    }
  });

  test("a patch of an older version is a Conflict", async (t, hand) => {
    const job = await hand.createUnplaced("moved");
    const label = (resourceVersion: string) => patch(hand, "moved", { metadata: { resourceVersion, labels: { moved: "yes" } } });
    t.equal((await label(job.metadata.resourceVersion)).status, 200);
    t.match(await label(job.metadata.resourceVersion), {
      status: 409,
      body: { reason: "Conflict", message: /the object has been modified/, details: { name: "moved", kind: "jobs" } },
    });
  });

  test("the hold can be put back on a live Job, and not on one under deletion", async (t, hand) => {
    await hand.createUnplaced("stripped");
    const hold = (...names: readonly string[]) => patch(hand, "stripped", { metadata: { finalizers: names } });
    await hand.release("stripped");
    t.equal((await hold(HOLD)).status, 200);
    t.equal((await hold("example.com/more")).status, 200);
    t.same([...finalizers(await hand.job("stripped"))].sort(), ["example.com/more", HOLD].sort(), "one is added to the other");
    await hand.deleteJob("stripped", "Foreground");
    t.equal((await hold(HOLD)).status, 200, "what is on may be put on again");
    await hand.release("stripped");
    await hand.untilJob("the other finalizer alone", "stripped", (it) => finalizers(it).join() === "example.com/more");
    const late = await hold(HOLD);
    t.match(late, {
      status: 422,
      body: { reason: "Invalid", message: /no new finalizers can be added if the object is being deleted/ },
    });
    t.ok(fieldsOf(late.body).includes("metadata.finalizers"));
    await patch(hand, "stripped", { metadata: { "$deleteFromPrimitiveList/finalizers": ["example.com/more"] } });
    await hand.untilJobGone("stripped");
  });

  test("a spec cannot be changed after its creation", async (t, hand) => {
    await hand.createUnplaced("fixed");
    const spec = { template: { spec: { containers: [{ name: "main", image: "other" }] } } };
    const refused = await patch(hand, "fixed", { spec });
    t.match(refused, { status: 422, body: { reason: "Invalid", message: /spec.template.*field is immutable/ } });
  });

  test("a Job of which only the hold is left may be released twice", async (t, hand) => {
    await hand.createUnplaced("twice");
    await hand.deleteJob("twice", "Foreground");
    await hand.untilJob("only the hold left", "twice", onlyHeld);
    t.equal((await hand.release("twice")).status, 200);
    t.match(await hand.release("twice"), { status: 404, body: { reason: "NotFound", details: { name: "twice" } } });
  });
}

function fieldsOf(body: unknown): readonly string[] {
  const { details } = body as { readonly details?: { readonly causes?: readonly { readonly field: string }[] } };
  return (details?.causes ?? []).map((it) => it.field);
}
