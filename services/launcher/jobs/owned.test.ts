/** Secret values and large files of a run: the objects that its anchor owns, and how long their values are known. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import type { ApiObject } from "@longshore/pocket/objects.ts";
import t, { type Test } from "tap";
import { anchored, anchorOf, type Claimed, create, end, release, sweepAll } from "../testing/anchored.ts";
import { NAMESPACE, RUN, type Stage, type Staging } from "../testing/stage.ts";

const CANARY = "hunter2-canary";
const SECRETS = {
  image: "busybox",
  secretValues: { token: CANARY, "ca.pem": "-----BEGIN" },
  env: { TOKEN: { secretValue: "token" } },
  secrets: [{ values: ["ca.pem"], mount: "/etc/ca" }],
};
const LARGE = "x".repeat(40_000);
const FILES = {
  image: "busybox",
  files: [
    { path: "/etc/big", text: LARGE },
    { path: "/etc/small", json: { a: 1 } },
  ],
};

const allowed = (t: Test, request: object, staging: Staging = {}): Promise<Claimed> =>
  anchored(t, request, { pods: { startsAfterMs: 10, runsMs: 10 }, policy: { secretValues: true }, ...staging });

const secrets = ({ pocket }: Stage): readonly ApiObject[] => pocket.objects("secrets", NAMESPACE);
const contents = ({ pocket }: Stage): readonly ApiObject[] =>
  pocket.objects("configmaps", NAMESPACE).filter((it) => "data" in it);
const podOf = ({ pocket }: Stage) => pocket.jobs(NAMESPACE).at(-1)?.spec.template;
const sealedOf = ({ model }: Stage) => model.tables.runs.get(RUN)?.sealed;
const lastNotice = ({ model }: Stage): unknown => [...model.tables.notices.values()].at(-1)?.notice.data;

async function ended(it: Claimed, how: "complete" | "failed"): Promise<void> {
  await create(it);
  await end(it, how);
  await release(it);
}

async function again(it: Claimed): Promise<unknown> {
  await it.place();
  return await create(it, await it.claim());
}

t.test("secret values become one Secret, owned by the anchor, which variables and files of the pod name", async (t) => {
  const it = await allowed(t, SECRETS);
  t.match(await create(it), { input: { kind: "created" }, anchor: { kind: "stands" } });
  const [secret, ...others] = secrets(it);
  t.same(others, []);
  t.match(secret, {
    type: "Opaque",
    immutable: true,
    stringData: SECRETS.secretValues,
    metadata: { ownerReferences: [{ kind: "ConfigMap", uid: anchorOf(it)?.uid }] },
  });
  const secretName = secret?.metadata.name;
  const { containers: [main] = [], volumes } = podOf(it)?.spec ?? {};
  t.match(main?.env?.[0], { name: "TOKEN", valueFrom: { secretKeyRef: { name: secretName, key: "token" } } });
  t.same(volumes, [{ name: "secret-0", secret: { secretName, items: [{ key: "ca.pem", path: "ca.pem" }] } }]);
});

t.test("no secret value stands in the ledger, a Job, an event or the log", async (t) => {
  const it = await allowed(t, SECRETS);
  await ended(it, "failed");
  await it.publish("run.restart", { run: RUN, from: "failed", with: { secretValues: { token: `${CANARY}-2`, "ca.pem": "-" } } });
  await again(it);
  const { runs, notices } = it.model.tables;
  const all = { run: runs.get(RUN), notices: [...notices.values()], jobs: it.pocket.jobs(NAMESPACE), said: it.said };
  t.notMatch(JSON.stringify(all), CANARY);
  t.match(JSON.stringify(all), "secretValues.token", "that they were given again is told, by their names");
});

t.test("a run whose values were changed in the ledger, or sealed with another key, is refused", async (t) => {
  const it = await allowed(t, SECRETS);
  const sealed = it.work.sealed?.replace(/"box":"./, '"box":"_') ?? "";
  t.match(await create(it, { ...it.work, sealed }), { input: { kind: "refused", diagnosis: { hint: /with\.secretValues/ } } });
  t.same(secrets(it), []);
});

t.test("a group that does not allow secret values takes no such run", async (t) => {
  const it = await allowed(t, SECRETS);
  const settings = { ...it.cluster.settings, policy: {} };
  const answer = await create({ ...it, cluster: { ...it.cluster, settings } });
  t.match(answer, { input: { kind: "refused", diagnosis: { sentence: /does not allow secret values/ } } });
  t.same(secrets(it), []);
});

t.test("values are forgotten with the run that succeeded, and kept for a restart of the run that failed", async (t) => {
  const good = await allowed(t, SECRETS);
  await ended(good, "complete");
  await sweepAll(good);
  await good.parts.ledger.prune(10);
  t.equal(sealedOf(good), undefined);
  t.same(secrets(good), []);

  const bad = await allowed(t, SECRETS);
  await ended(bad, "failed");
  await sweepAll(bad);
  await bad.parts.ledger.prune(10);
  t.ok(sealedOf(bad));
  await bad.publish("run.restart", { run: RUN, from: "failed" });
  t.match(await again(bad), { input: { kind: "created" } });
  t.equal(secrets(bad).length, 1, "it goes on with the same Secret");
});

t.test("once they are forgotten, a restart says which values it needs, and takes all of them or none", async (t) => {
  const it = await allowed(t, SECRETS);
  await ended(it, "failed");
  await it.publish("run.free", { run: RUN });
  await sweepAll(it);
  await it.parts.ledger.prune(10);
  t.equal(sealedOf(it), undefined);
  await it.publish("run.restart", { run: RUN, from: "start" });
  t.match(lastNotice(it), { problems: [{ path: "/data/with/secretValues", code: "SecretsGone", message: /ca\.pem, token/ }] });
  await it.publish("run.restart", { run: RUN, from: "start", with: { secretValues: { token: "other" } } });
  t.match(lastNotice(it), { problems: [{ code: "RequestInvalid", message: /all secret values/ }] });
  const secretValues = { token: "new", "ca.pem": "new" };
  await it.publish("run.restart", { run: RUN, from: "failed", with: { secretValues } });
  t.match(await again(it), { input: { kind: "created" } });
  t.match(secrets(it), [{ stringData: secretValues }]);
  t.match(anchorOf(it), { number: 2, state: "standing" });
});

t.test("a correction that names a value which the run does not have is refused", async (t) => {
  const it = await allowed(t, SECRETS);
  await ended(it, "failed");
  await it.publish("run.restart", { run: RUN, from: "failed", with: { env: { OTHER: { secretValue: "other" } } } });
  t.match(lastNotice(it), { problems: [{ path: "/data/with/env", message: /no secret value named "other"/ }] });
  await it.publish("run.restart", { run: RUN, from: "failed", with: { env: { OTHER: { secretValue: "token" } } } });
  t.match(await again(it), { input: { kind: "created" } });
});

t.test("a restart with other values makes another Secret beneath the anchor that it keeps", async (t) => {
  const it = await allowed(t, { ...SECRETS, volumes: [{ name: "data", size: "1Gi" }], mounts: [{ volume: "data", path: "/d" }] });
  await ended(it, "failed");
  const secretValues = { token: "new", "ca.pem": "new" };
  await it.publish("run.restart", { run: RUN, from: "failed", with: { secretValues } });
  t.match(await again(it), { input: { kind: "created" } });
  const used = podOf(it)?.spec.volumes?.find(({ name }) => name === "secret-0")?.secret?.secretName;
  t.match(
    secrets(it).find(({ metadata }) => metadata.name === used),
    { stringData: secretValues },
  );
  t.match(anchorOf(it), { number: 1 });
});

t.test("a run that never got its Secret can be restarted without giving the values again", async (t) => {
  const refused: Fault = { on: "create", resource: "secrets", trouble: { kind: "status", status: 403 } };
  const it = await allowed(t, SECRETS, { faults: [refused] });
  t.match(await create(it), { input: { kind: "refused" } });
  it.pocket.heal();
  await it.parts.ledger.prune(10);
  await it.publish("run.restart", { run: RUN, from: "failed" });
  t.match(await again(it), { input: { kind: "created" } });
});

t.test(
  "a run that waits no longer than a day after its end forgets its values, though nothing of it was ever there",
  async (t) => {
    const it = await allowed(t, SECRETS);
    await it.record({ kind: "abandon", diagnosis: diagnose("Abandoned", "An operator gave it up.") });
    await it.parts.ledger.prune(10);
    t.ok(sealedOf(it));
    await it.clock.sleep(24 * 3_600_000);
    await it.parts.ledger.prune(10);
    t.equal(sealedOf(it), undefined);
    await it.publish("run.restart", { run: RUN, from: "start" });
    t.match(lastNotice(it), { problems: [{ code: "SecretsGone" }] });
  },
);

// ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test("a small file stands in the pod's annotations, and a large one in a ConfigMap beneath an anchor", async (t) => {
  const it = await allowed(t, FILES);
  t.match(await create(it), { input: { kind: "created" } });
  t.match(contents(it), [
    { immutable: true, data: { content: LARGE }, metadata: { ownerReferences: [{ uid: anchorOf(it)?.uid }] } },
  ]);
  const { metadata, spec } = podOf(it) ?? {};
  t.match(metadata?.annotations, { "longshore.dev/file-1": '{"a":1}' });
  t.notOk("longshore.dev/file-0" in (metadata?.annotations ?? {}));
  const configMap = { name: contents(it)[0]?.metadata.name };
  const fieldRef = { fieldPath: "metadata.annotations['longshore.dev/file-1']" };
  t.same(spec?.volumes, [
    { name: "files", downwardAPI: { items: [{ path: "1", fieldRef }] } },
    { name: "file-0", configMap },
  ]);
  t.same(spec?.containers[0]?.volumeMounts, [
    { name: "files", mountPath: "/etc/small", subPath: "1", readOnly: true },
    { name: "file-0", mountPath: "/etc/big", subPath: "content", readOnly: true },
  ]);
  t.notMatch(it.pocket.jobs(NAMESPACE)[0]?.metadata.annotations, { "longshore.dev/file-1": String });
});

t.test("a run with small files alone has no anchor", async (t) => {
  const it = await allowed(t, { image: "busybox", files: [{ path: "/a", text: "a" }] });
  t.match(await create(it), { input: { kind: "created" } });
  t.equal(anchorOf(it), undefined);
  t.same(it.pocket.objects("configmaps", NAMESPACE), []);
});

t.test("a large file goes with the run's Jobs, and a restart makes it anew", async (t) => {
  const it = await allowed(t, { ...FILES, keepFor: { failed: "1h" } });
  await ended(it, "failed");
  t.equal(anchorOf(it)?.state, "kept");
  await it.clock.sleep(3_600_000);
  await sweepAll(it);
  t.same([contents(it).length, it.pocket.jobs(NAMESPACE).length], [0, 0]);
  await it.publish("run.restart", { run: RUN, from: "failed" });
  t.match(await again(it), { input: { kind: "created" } });
  t.match(anchorOf(it), { number: 2 });
  t.equal(contents(it).length, 1);
});

t.test("a file that becomes large with a restart's parameters finds an anchor", async (t) => {
  const it = await allowed(t, {
    image: "busybox",
    parameters: { stage: "small" },
    files: [{ path: "/a", text: "${{ parameters.stage }}" }],
  });
  await ended(it, "failed");
  t.equal(anchorOf(it), undefined);
  await it.publish("run.restart", { run: RUN, from: "failed", with: { parameters: { stage: LARGE } } });
  t.match(await again(it), { input: { kind: "created" } });
  t.match(contents(it), [{ data: { content: LARGE } }]);
});

t.test("each step makes its own large files, and a content that two steps have is one object", async (t) => {
  const step = (name: string, needs: readonly string[] = []) => ({
    name,
    needs,
    image: "a",
    files: [{ path: `/${name}`, text: LARGE }],
  });
  const it = await allowed(t, { steps: [step("first"), step("second", ["first"])] });
  await ended(it, "complete");
  t.equal(contents(it).length, 1);
  t.match(await again(it), { input: { kind: "created" } });
  t.equal(contents(it).length, 1);
  t.equal(it.pocket.jobs(NAMESPACE).length, 2);
});

t.test(
  "a group that allows neither volumes nor secret values has no right to make large files, and takes no such run",
  async (t) => {
    const it = await allowed(t, FILES);
    const settings = { ...it.cluster.settings, policy: { storageClasses: [] } };
    const answer = await create({ ...it, cluster: { ...it.cluster, settings } });
    t.match(answer, { input: { kind: "refused", diagnosis: { sentence: /does not allow large files/ } } });
  },
);

t.test("a step whose file is too large with its outputs' values is refused, and told which", async (t) => {
  const it = await allowed(t, FILES);
  const work = { ...it.work, request: { image: "a", files: [{ path: "/a", text: "${{ steps.main.outputs.much }}" }] } };
  const steps = { main: { state: "ended", n: 1, retries: 0, outputs: { much: LARGE } } } as const;
  const answer = await create(it, { ...work, run: { ...work.run, steps } });
  t.match(answer, { input: { kind: "refused", diagnosis: { code: "RequestInvalid", evidence: [/\/files\/0: .*40000|40002/] } } });
});
