/** Rows of "lists and watches": lists in pages, watches with bookmarks, and a server that has forgotten old versions. */
import type { Test } from "tap";
import type { Conforming, Client, RawList, WatchEvent } from "./conformance-parts.ts";
import { COMMANDS, casesOf, manifest, METADATA, METADATA_LIST, onlyHeld, parsed, STRATEGIC } from "./conformance-parts.ts";

/** Jobs that make no pods: only the test changes them. */
async function createIdle(hand: Client, image: string, names: readonly string[]): Promise<void> {
  for (const name of names)
    await hand.must("POST", hand.jobs, { body: manifest(name, image, COMMANDS.succeed, { suspend: true, parallelism: 0 }) });
  for (const name of names) await hand.untilJob("it settled", name, (it) => it.status?.conditions !== undefined);
}

export async function listing(t: Test, it: Conforming): Promise<void> {
  const { test, testAlone, settled } = casesOf(t, it);
  const { image } = it;

  test("pages show one moment, whole and once, whatever is created meanwhile", async (t, hand) => {
    await createIdle(hand, image, ["a", "b", "c", "d", "e"]);
    const names: string[] = [];
    const versions = new Set<string>();
    let token = "";
    for (let page = 0; page === 0 || token !== ""; page++) {
      const { items, metadata } = await hand.list(
        hand.jobs,
        `limit=2${token === "" ? "" : `&continue=${encodeURIComponent(token)}`}`,
      );
      t.ok(items.length <= 2);
      names.push(...items.map((it) => it.metadata.name));
      versions.add(metadata.resourceVersion);
      token = metadata.continue ?? "";
      if (page === 0) await createIdle(hand, image, ["bb"]);
    }
    t.same(names, ["a", "b", "c", "d", "e"]);
    t.equal(versions.size, 1, "all of one version");
  });

  testAlone("a continue token outlives its version as 410 Expired", async (t, hand, cluster) => {
    await createIdle(hand, image, ["a", "b", "c"]);
    const { metadata } = await hand.list(hand.jobs, "limit=1");
    await createIdle(hand, image, ["d"]);
    await cluster.expire();
    const { status, body } = await hand.send(
      "GET",
      `${hand.jobs}?limit=1&continue=${encodeURIComponent(metadata.continue ?? "")}`,
    );
    t.equal(status, 410);
    t.match(body, { kind: "Status", reason: "Expired", code: 410, metadata: { continue: /./ } });
    const rest = (body as { readonly metadata: { readonly continue: string } }).metadata.continue;
    const { items } = await hand.list(hand.jobs, `continue=${encodeURIComponent(rest)}`);
    t.same(
      items.map((it) => it.metadata.name),
      ["b", "c", "d"],
      "its own token gives the rest, of another moment",
    );
  });

  testAlone("a watch from a version that is gone says 410, as its status or in its stream", async (t, hand, cluster) => {
    const { metadata } = await hand.list(hand.jobs);
    await createIdle(hand, image, ["a"]);
    await cluster.expire();
    const watch = await hand.watch(hand.jobs, `resourceVersion=${metadata.resourceVersion}&timeoutSeconds=10`);
    const [first] = await all(watch.events);
    const said = watch.status === 200 ? first : { type: "ERROR", object: watch.body };
    t.match(said, { type: "ERROR", object: { kind: "Status", code: 410 } });
  });

  test("a watch tells what came after its version, bookmarks where it stands, and ends in time", async (t, hand) => {
    await createIdle(hand, image, ["old"]);
    const { metadata } = await hand.list(hand.jobs);
    await createIdle(hand, image, ["new"]);
    const { events } = await hand.watch(
      hand.jobs,
      `resourceVersion=${metadata.resourceVersion}&allowWatchBookmarks=true&timeoutSeconds=4`,
    );
    const told = await all(events);
    t.match(told[0], { type: "ADDED", object: { kind: "Job", metadata: { name: "new" } } });
    t.ok(told.every((it) => it.object.metadata.name !== "old"));
    const bookmark = told.findLast((it) => it.type === "BOOKMARK");
    t.ok(bookmark !== undefined, "a bookmark before the end");
    const last = Math.max(...told.filter((it) => it.type !== "BOOKMARK").map(version));
    t.ok(bookmark !== undefined && version(bookmark) >= last);
    const again = await hand.watch(
      hand.jobs,
      `resourceVersion=${bookmark?.object.metadata.resourceVersion ?? ""}&timeoutSeconds=1`,
    );
    t.same(await all(again.events), [], "nothing is told twice");
  });

  test("a watch without a version begins with what is there", async (t, hand) => {
    await createIdle(hand, image, ["here"]);
    const { events } = await hand.watch(hand.jobs, "timeoutSeconds=20");
    t.match(await first(events), { type: "ADDED", object: { metadata: { name: "here" } } });
  });

  test("for a watch with a selector, a Job that loses its label is DELETED, though it is there", async (t, hand) => {
    await createIdle(hand, image, ["marked", "never"]);
    const unmark = (name: string, more: object = {}) =>
      hand.must("PATCH", `${hand.jobs}/${name}`, {
        contentType: STRATEGIC,
        body: { metadata: { labels: { conformance: null, other: "yes", ...more } } },
      });
    await unmark("never");
    const { metadata } = await hand.list(hand.jobs);
    await unmark("never", { more: "yes" });
    await unmark("marked");
    const { events } = await hand.watch(
      hand.jobs,
      `labelSelector=conformance%3Dyes&resourceVersion=${metadata.resourceVersion}&timeoutSeconds=20`,
    );
    t.match(await first(events), { type: "DELETED", object: { metadata: { name: "marked", labels: { conformance: "yes" } } } });
    t.equal((await hand.send("GET", `${hand.jobs}/marked`)).status, 200);
    t.same((await hand.list(hand.jobs, "labelSelector=conformance%3Dyes")).items, []);
  });

  test("a Job that loses its last label is given its template's", async (t, hand) => {
    await createIdle(hand, image, ["bare"]);
    const body = { metadata: { labels: { conformance: null } } };
    const { metadata } = await hand.must("PATCH", `${hand.jobs}/bare`, { contentType: STRATEGIC, body });
    t.match(metadata.labels, { conformance: "yes", "batch.kubernetes.io/job-name": "bare" });
  });

  test("a DELETED carries the object's last state, with the version of its deletion", async (t, hand) => {
    await createIdle(hand, image, ["going"]);
    await hand.deleteJob("going", "Foreground");
    const last = await hand.untilJob("only the hold left", "going", onlyHeld);
    await hand.release("going");
    const { events } = await hand.watch(hand.jobs, `resourceVersion=${last.metadata.resourceVersion}&timeoutSeconds=20`);
    const gone = await first(events, (it) => it.type === "DELETED");
    t.match(gone, { object: { metadata: { name: "going", uid: last.metadata.uid } } });
    t.ok(gone !== undefined && version(gone) > Number(last.metadata.resourceVersion));
  });

  test("lists and watches can be of metadata only", async (t, hand, cluster) => {
    await createIdle(hand, image, ["thin"]);
    const list = (await hand.send("GET", hand.jobs, { accept: METADATA_LIST })).body as RawList;
    t.equal(list.kind, "PartialObjectMetadataList");
    t.match(list.items, [{ metadata: { name: "thin", uid: /./, labels: { conformance: "yes" } } }]);
    t.equal(list.items[0]?.spec, undefined);
    const path = `${hand.jobs}?watch=true&timeoutSeconds=20`;
    const { lines } = await cluster.transport.open({ method: "GET", path, accept: METADATA }, new AbortController().signal);
    const told = await first(parsed(lines));
    t.match(told, { type: "ADDED", object: { kind: "PartialObjectMetadata", metadata: { name: "thin" } } });
    t.equal(told?.object.spec, undefined);
  });

  test("a field selector finds one Job by its name", async (t, hand) => {
    await createIdle(hand, image, ["one", "two"]);
    const { items } = await hand.list(hand.jobs, "fieldSelector=metadata.name%3Dtwo");
    t.same(
      items.map((it) => it.metadata.name),
      ["two"],
    );
    t.match(await hand.send("GET", `${hand.jobs}?fieldSelector=spec.nonsense%3D1`), {
      status: 400,
      body: { reason: "BadRequest" },
    });
  });

  test("resourceVersion=0 asks the cache, of any age", async (t, hand) => {
    await createIdle(hand, image, ["a", "b", "c"]);
    const list = await hand.list(hand.jobs, "resourceVersion=0&limit=2");
    t.match(list, { kind: "JobList", metadata: { resourceVersion: /^\d+$/ } });
    t.ok(list.items.length === 3 || list.metadata.continue !== undefined, "it may leave the limit aside, and then gives all");
  });

  test("a list of a version that the server has not reached is Too large, with its cause", async (t, hand) => {
    const { metadata } = await hand.list(hand.jobs);
    const ahead = Number(metadata.resourceVersion) + 1_000_000;
    const listed = await hand.send("GET", `${hand.jobs}?resourceVersion=${ahead}`);
    const body = { reason: "Timeout", code: 504, details: { causes: [{ reason: "ResourceVersionTooLarge" }] } };
    t.match(listed, { status: 504, body });
  });

  test("a watch from a version that the server has not reached says nothing: no event, no bookmark, no error", async (t, hand) => {
    const { metadata } = await hand.list(hand.jobs);
    const ahead = Number(metadata.resourceVersion) + 1_000_000;
    const { status, events } = await hand.watch(hand.jobs, `resourceVersion=${ahead}&allowWatchBookmarks=true&timeoutSeconds=5`);
    t.equal(status, 200);
    const told = all(events);
    await createIdle(hand, image, ["unseen"]);
    t.same(await told, []);
  });

  await settled();
}

const version = (event: WatchEvent): number => Number(event.object.metadata.resourceVersion);

/** Returns the first wanted event, and ends the watch. */
async function first(
  events: AsyncIterable<WatchEvent>,
  wanted: (event: WatchEvent) => boolean = () => true,
): Promise<WatchEvent | undefined> {
  for await (const event of events) if (wanted(event)) return event;
  return undefined;
}

async function all(events: AsyncIterable<WatchEvent>): Promise<readonly WatchEvent[]> {
  const told: WatchEvent[] = [];
  for await (const event of events) told.push(event);
  return told;
}
