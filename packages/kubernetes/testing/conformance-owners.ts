/** What an owner takes with it: claims of volumes and held Jobs under a ConfigMap, also what is created after its deletion. */
import type { Test } from "tap";
import { type Client, casesOf, clientOf, COMMANDS, type Conforming, isDeleting, isFinished, manifest, type OpenCluster, type Raw } from "./conformance-parts.ts"; // biome-ignore format: a list of names

const none = (found: readonly Raw[]): boolean => found.length === 0;

const pathsIn = ({ namespace }: Client) => ({
  owners: `${namespace}/configmaps`,
  claims: `${namespace}/persistentvolumeclaims`,
  secrets: `${namespace}/secrets`,
});

const makeOwner = (hand: Client, name: string): Promise<Raw> =>
  hand.must("POST", pathsIn(hand).owners, { body: { apiVersion: "v1", kind: "ConfigMap", metadata: { name } } });

const ownedBy = ({ metadata: { name, uid } }: Raw) => ({
  ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name, uid }],
});

const claim = (name: string, metadata: object = {}, storage = "1Mi") => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { name, ...metadata },
  spec: { accessModes: ["ReadWriteOnce"], storageClassName: "", resources: { requests: { storage } } },
});

const makeClaim = (hand: Client, ...of: Parameters<typeof claim>): Promise<Raw> =>
  hand.must("POST", pathsIn(hand).claims, { body: claim(...of) });

const makeSecret = (hand: Client, name: string, metadata: object): Promise<Raw> =>
  hand.must("POST", pathsIn(hand).secrets, { body: { apiVersion: "v1", kind: "Secret", immutable: true, metadata: { name, ...metadata }, stringData: { key: "value" } } }); // biome-ignore format: one line

const gone = (hand: Client, name: string, kind: "claims" | "secrets" = "claims") =>
  hand.untilAll(`${name} gone from the ${kind}`, pathsIn(hand)[kind], `fieldSelector=metadata.name%3D${name}`, none);

const remove = (hand: Client, { metadata: { name, uid } }: Raw) =>
  hand.must("DELETE", `${pathsIn(hand).owners}/${name}`, { body: { propagationPolicy: "Background", preconditions: { uid } } });

/** A Job whose pod mounts the claim and ends. */
async function finished(hand: Client, { image }: Conforming, name: string, claimName: string, metadata: object): Promise<Raw> {
  const volumes = [{ name: "data", persistentVolumeClaim: { claimName } }];
  const made = manifest(name, image, COMMANDS.succeed, {}, { volumes }) as { readonly metadata: object };
  await hand.must("POST", hand.jobs, { body: { ...made, metadata: { ...made.metadata, ...metadata } } });
  return await hand.untilJob("the end of its pod", name, isFinished);
}

export async function owners(t: Test, it: Conforming): Promise<void> {
  const cases = casesOf(t, it);
  const bound = async (cluster: OpenCluster, hand: Client, name: string, metadata: object = {}): Promise<void> => {
    await cluster.volumeFor?.(name);
    await makeClaim(hand, name, metadata);
    await hand.untilAll("the claim bound", pathsIn(hand).claims, `fieldSelector=metadata.name%3D${name}`, ([found]) => found?.status?.phase === "Bound"); // biome-ignore format: one line
  };

  cases.test("a claim that is created after its owner's deletion is gone", async (t, hand) => {
    const owner = await makeOwner(hand, "owner");
    await remove(hand, owner);
    const { status } = await hand.send("POST", pathsIn(hand).claims, { body: claim("late", ownedBy(owner)) });
    t.equal(status, 201, "nobody checks an owner");
    await gone(hand, "late");
  });

  cases.test(
    "a Job that is created after its owner's deletion is deleted, and goes with its pods when its hold is off",
    async (t, hand) => {
      const owner = await makeOwner(hand, "owner");
      await remove(hand, owner);
      const made = manifest("late", it.image, COMMANDS.runOn) as { readonly metadata: object };
      const job = await hand.must("POST", hand.jobs, { body: { ...made, metadata: { ...made.metadata, ...ownedBy(owner) } } });
      await hand.untilJob("its deletion", "late", isDeleting);
      t.equal((await hand.release("late")).status, 200);
      await hand.untilJobGone("late");
      await hand.untilPods("its pods gone", job, none);
    },
  );

  cases.test("a finished pod keeps its claim until the pod is deleted", async (t, hand, cluster) => {
    await bound(cluster, hand, "data");
    const job = await finished(hand, it, "user", "data", {});
    await hand.must("DELETE", `${pathsIn(hand).claims}/data`);
    await hand.letOthersWork();
    const kept = await hand.must("GET", `${pathsIn(hand).claims}/data`);
    t.ok(isDeleting(kept), "it is being deleted");
    t.same(kept.metadata.finalizers, ["kubernetes.io/pvc-protection"]);
    await hand.deleteJob("user", "Foreground");
    await hand.untilPods("its pod gone", job, none);
    await gone(hand, "data");
  });

  cases.test(
    "the deletion of an owner takes claims, Secrets, finished Jobs and their pods, each Job once its hold is off",
    async (t, hand, cluster) => {
      const owner = await makeOwner(hand, "owner");
      await bound(cluster, hand, "data", ownedBy(owner));
      await makeSecret(hand, "words", ownedBy(owner));
      const job = await finished(hand, it, "user", "data", ownedBy(owner));
      await remove(hand, owner);
      t.match(await hand.send("GET", `${pathsIn(hand).owners}/owner`), {
        status: 404,
        body: { reason: "NotFound", details: { name: "owner" } },
      });
      const marked = await hand.untilJob("its deletion", "user", isDeleting);
      t.ok(isFinished(marked), "its end can still be read");
      await gone(hand, "words", "secrets");
      await hand.letOthersWork();
      t.equal((await hand.podsOf(job)).length, 1, "its pod waits with it");
      t.ok(isDeleting(await hand.must("GET", `${pathsIn(hand).claims}/data`)), "and so does the claim");
      t.equal((await hand.release("user")).status, 200);
      await hand.untilJobGone("user");
      await hand.untilPods("its pod gone", job, none);
      await gone(hand, "data");
    },
  );

  cases.test("a quota on storage refuses a claim in a sentence that says how much there is", async (t, hand) => {
    const spec = { hard: { "requests.storage": "3Mi" } };
    const path = `${hand.namespace}/resourcequotas`;
    await hand.must("POST", path, { body: { apiVersion: "v1", kind: "ResourceQuota", metadata: { name: "little" }, spec } });
    await hand.untilAll("the quota counted", path, "", ([found]) => found?.status?.used !== undefined);
    await makeClaim(hand, "fits", {}, "2Mi");
    await hand.untilAll("the claim counted", path, "", ([found]) => found?.status?.used?.["requests.storage"] === "2Mi");
    const { status, body } = await hand.send("POST", pathsIn(hand).claims, { body: claim("more", {}, "2Mi") });
    t.equal(status, 403);
    const message =
      /exceeded quota: little, requested: requests.storage=2Mi, used: requests.storage=2Mi, limited: requests.storage=3Mi/;
    t.match(body, { reason: "Forbidden", message, details: { name: "more", kind: "persistentvolumeclaims" } });
  });

  cases.test("the launcher's own role makes the owner, what it owns, and deletes it", async (t, { namespace }, cluster) => {
    const hand = clientOf({ transport: cluster.confined, namespace: cluster.namespace }, it);
    const owner = await makeOwner(hand, "owner");
    await makeClaim(hand, "data", ownedBy(owner));
    t.match((await hand.list(pathsIn(hand).claims)).items, [{ metadata: { name: "data" } }]);
    await remove(hand, owner);
    const all = clientOf(cluster, it);
    t.equal(all.namespace, namespace);
    await gone(all, "data");
  });

  await cases.settled();
}
