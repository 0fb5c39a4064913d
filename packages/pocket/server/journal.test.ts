/** The objects on disk: what was written is there again, whatever was cut off, and versions never come twice. */
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@longshore/runtime/clock.ts";
import t from "tap";
import { type ApiObject, apiVersionOf, KINDS, RESOURCES, type Resource } from "../objects.ts";
import { openJournal } from "./journal.ts";
import { createStore, type Store } from "./store.ts";

const folder = await mkdtemp(join(tmpdir(), "journal-test-"));
t.teardown(() => rm(folder, { recursive: true, force: true }));
let folders = 0;

/** A store of its own. `open` opens it as a start does; `left` leaves it as a kill does. */
async function place() {
  const path = await mkdtemp(join(folder, `${folders++}-`));
  const file = join(path, "objects.jsonl");
  return {
    file,
    path,
    open: (rewriteBytes?: number) => {
      const journal = openJournal(path, systemClock, rewriteBytes === undefined ? {} : { rewriteBytes });
      return { store: createStore(journal.version, journal), close: () => journal[Symbol.asyncDispose]() };
    },
  };
}

function object(resource: Resource, name: string, more: object = {}): ApiObject {
  const namespace = KINDS[resource].namespaced ? { namespace: "default" } : {};
  const metadata = {
    name,
    ...namespace,
    uid: `uid-${resource}-${name}`,
    resourceVersion: "",
    creationTimestamp: "2026-01-01T00:00:00Z",
  };
  return { apiVersion: apiVersionOf(resource), kind: KINDS[resource].kind, metadata, ...more };
}

const everything = (store: Store): object => Object.fromEntries(RESOURCES.map((it) => [it, store.list(it, undefined)]));

t.test("objects of every kind are there again as they were: written, changed, removed", async (t) => {
  const { open } = await place();
  const first = open();
  for (const it of RESOURCES) {
    first.store.insert(it, object(it, "stays", { spec: { text: "Ä\n\u0000\u2028" } }));
    first.store.replace(it, { ...first.store.insert(it, object(it, "changes")), spec: { changed: true } });
    first.store.remove(it, first.store.insert(it, object(it, "goes")));
  }
  const [before, version] = [everything(first.store), first.store.version()];
  // Nothing closes it: that is a kill.
  const second = open();
  t.same(everything(second.store), before);
  t.equal(second.store.version(), version);
  t.equal(second.store.exists("uid-jobs-stays")?.metadata.name, "stays");
  await second.close();
  await first.close();
});

t.test("after a start the owners are known, a watch goes on from the last version, and an earlier one is expired", async (t) => {
  const { open } = await place();
  const first = open();
  first.store.insert("jobs", object("jobs", "a"));
  const pod = object("pods", "a-1");
  const ownerReferences = [{ apiVersion: "batch/v1", kind: "Job", name: "a", uid: "uid-jobs-a", controller: true }];
  first.store.insert("pods", { ...pod, metadata: { ...pod.metadata, ownerReferences } });
  const version = first.store.version();
  await first.close();
  const { store, close } = open();
  t.match(store.dependents("uid-jobs-a"), [{ resource: "pods", object: { metadata: { name: "a-1" } } }]);
  t.same(store.since(version), []);
  t.equal(store.since(version - 1), undefined);
  store.insert("jobs", object("jobs", "b"));
  t.match(store.since(version), [{ version: version + 1, object: { metadata: { name: "b" } } }]);
  await close();
});

t.test("a file that was cut anywhere has the changes before the cut, and goes on from there", async (t) => {
  const { open, file, path } = await place();
  const first = open();
  const ends = [statSync(file).size];
  for (const name of ["a", "b", "c"]) {
    first.store.insert("jobs", object("jobs", name, { spec: { text: "Größe" } }));
    ends.push(statSync(file).size);
  }
  first.store.remove("jobs", first.store.get("jobs", "default", "a") ?? object("jobs", "a"));
  await first.close();
  const whole = readFileSync(file);
  const near = (length: number): boolean => [...ends, whole.length].some((it) => Math.abs(it - length) <= 2);
  for (let length = ends[0] ?? 0; length <= whole.length; length++) {
    if (!near(length) && length % 17 !== 0) continue;
    writeFileSync(file, whole.subarray(0, length));
    const cut = open();
    const names = cut.store.list("jobs", undefined).map(({ metadata }) => metadata.name);
    const written = ["a", "b", "c"].filter((_, n) => length >= (ends[n + 1] ?? 0));
    const want = length === whole.length ? ["b", "c"] : written;
    if (names.join() !== want.join()) t.same(names, want, `cut at ${length}`);
    cut.store.insert("jobs", object("jobs", "later"));
    await cut.close();
    const after = open();
    if (after.store.get("jobs", "default", "later") === undefined) t.fail(`what was written after a cut at ${length} is gone`);
    await after.close();
  }
  t.notOk(existsSync(join(path, "objects.jsonl.damaged")), "a cut is no damage");
});

t.test("a line that cannot be read ends what is believed, and the file is kept for people to look at", async (t) => {
  const { open, file } = await place();
  const first = open();
  first.store.insert("jobs", object("jobs", "a"));
  const good = statSync(file).size;
  for (const name of ["b", "c"]) first.store.insert("jobs", object("jobs", name));
  await first.close();
  const bytes = readFileSync(file);
  bytes.fill(0, good, good + 20);
  writeFileSync(file, bytes);
  const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
  const { store, close } = open();
  t.same(
    store.list("jobs", undefined).map(({ metadata }) => metadata.name),
    ["a"],
  );
  t.match(await warned, { message: /2 lines that cannot be read/ });
  t.same(readFileSync(`${file}.damaged`), bytes);
  await close();
});

t.test("the file is written anew before it grows without a bound, and loses nothing by it", async (t) => {
  const { open, file } = await place();
  const first = open(10_000);
  first.store.insert("jobs", object("jobs", "stays"));
  let most = 0;
  for (let n = 0; n < 1_000; n++) {
    first.store.remove("jobs", first.store.insert("jobs", object("jobs", `j${n}`)));
    most = Math.max(most, statSync(file).size);
  }
  t.ok(most < 11_000, `${most} bytes at most`);
  const version = first.store.version();
  const second = open();
  t.same(
    second.store.list("jobs", undefined).map(({ metadata }) => metadata.name),
    ["stays"],
  );
  t.equal(second.store.version(), version, "the versions of what was removed do not come again");
  await second.close();
  await first.close();
});

t.test("if the file cannot be written anew, the old one goes on", async (t) => {
  const { open, file } = await place();
  const first = open(1_000);
  mkdirSync(`${file}.new`);
  const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
  for (let n = 0; n < 10; n++) first.store.insert("jobs", object("jobs", `j${n}`));
  t.match(await warned, { message: /could not be written anew: EISDIR/ });
  rmdirSync(`${file}.new`);
  for (let n = 10; n < 30; n++) first.store.insert("jobs", object("jobs", `j${n}`));
  const second = open();
  t.equal(second.store.list("jobs", undefined).length, 30);
  await second.close();
  await first.close();
});

t.test("a kill while the file is written anew leaves the old one", async (t) => {
  const { open, file } = await place();
  const first = open();
  first.store.insert("jobs", object("jobs", "a"));
  await first.close();
  writeFileSync(`${file}.new`, readFileSync(file).subarray(0, 20));
  const { store, close } = open();
  t.same(
    store.list("jobs", undefined).map(({ metadata }) => metadata.name),
    ["a"],
  );
  await close();
});

t.test("what cannot be written has not happened", async (t) => {
  const store = createStore(0, {
    version: 0,
    objects: [],
    append: () => {
      throw new Error("no space left");
    },
  });
  let heard = 0;
  store.listen(() => heard++);
  t.throws(() => store.insert("jobs", object("jobs", "a")), { message: "no space left" });
  t.same([store.list("jobs", undefined), store.version(), heard], [[], 0, 0]);
});

t.test("what a full disk took only in part has not happened, and harms nothing that is written later", async (t) => {
  const { open, path } = await place();
  const script = `
    import { writeSync } from "node:fs";
    import { systemClock } from "@longshore/runtime/clock.ts";
    import { openJournal } from "./journal.ts";
    const journal = openJournal(process.argv[1], systemClock);
    const write = (name, text) => journal.append({ version: 1, type: "ADDED", resource: "secrets", object: { metadata: { name, text, resourceVersion: "1" } } });
    const errors = [];
    for (const [name, length] of [["a", 1_000], ["b", 100_000], ["c", 10]])
      try { write(name, "x".repeat(length)) } catch ({ code }) { errors.push(name + code) }
    writeSync(1, errors.join());
    process.exit();`;
  // A bound on a file's size makes a write end in the middle, as a full disk does.
  const words = ["-c", 'ulimit -f 20; trap "" XFSZ; exec "$0" --input-type=module -e "$1" "$2"', process.execPath, script, path];
  const { stdout, stderr } = spawnSync("/bin/sh", words, { cwd: import.meta.dirname, encoding: "utf8" });
  t.equal(stdout, "bEFBIG", stderr);
  const { store, close } = open();
  t.same(
    store.list("secrets", undefined).map(({ metadata }) => metadata.name),
    ["a", "c"],
  );
  await close();
});

t.test(
  "a folder that cannot be forced to the disk loses nothing of what is written after the file was written anew",
  async (t) => {
    const { open, path } = await place();
    const script = `
    import { closeSync, openSync } from "node:fs";
    import { systemClock } from "@longshore/runtime/clock.ts";
    import { openJournal } from "./journal.ts";
    const journal = openJournal(process.argv[1], systemClock, { rewriteBytes: 1_000 });
    const taken = [];
    try { for (;;) taken.push(openSync("/dev/null", "r")) } catch {}
    closeSync(taken.pop()); // the new file takes it, so that none is left for the folder
    for (let n = 0; n < 20; n++)
      journal.append({ version: n, type: "ADDED", resource: "secrets", object: { metadata: { name: "s" + n, resourceVersion: "1", text: "x".repeat(200) } } });
    process.exitCode = 7;
    setImmediate(() => process.exit());`;
    const words = ["-c", 'ulimit -n 80; exec "$0" --input-type=module -e "$1" "$2"', process.execPath, script, path];
    const { status, stderr } = spawnSync("/bin/sh", words, { cwd: import.meta.dirname, encoding: "utf8" });
    t.equal(status, 7, stderr);
    t.match(stderr, /could not be forced to the disk: EMFILE/);
    const { store, close } = open();
    t.equal(store.list("secrets", undefined).length, 20);
    await close();
  },
);

for (const { name, line } of [
  { name: "of a newer form", line: '{"format":2,"version":1}' },
  {
    name: "with a kind that is not known here",
    line: '{"put":"gadgets","object":{"metadata":{"name":"a","resourceVersion":"2"}}}',
  },
])
  t.test(`a file ${name} is refused, and not emptied`, async (t) => {
    const { open, file } = await place();
    await open().close();
    appendFileSync(file, `${line}\n`);
    const before = readFileSync(file);
    t.throws(() => open(), { message: /written by a newer Longshore/ });
    t.same(readFileSync(file), before);
  });

t.test("an empty file is an empty cluster", async (t) => {
  const { open, file } = await place();
  await open().close();
  truncateSync(file);
  const { store, close } = open();
  t.equal(store.list("jobs", undefined).length, 0);
  await close();
});
