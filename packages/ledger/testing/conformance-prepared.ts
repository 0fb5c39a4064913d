/** Conformance: definitions in clusters stand beside those of files, the newer news of an object counts, and what is gone says so. */
import { DefinitionName, Uid } from "@longshore/contract/ids.ts";
import type { Definition } from "@longshore/contract/request/definition.ts";
import type { Test } from "tap";
import type { Ledger, PreparedObject } from "../port.ts";
import { type Conforming, EAST, groupsOf, WEST } from "./conformance-parts.ts";

const definition = (name: string): Definition => ({ name: DefinitionName.parse(name), image: "busybox" });

const prepared = (name: string, rv: number, more: Partial<PreparedObject> = {}): PreparedObject => ({
  group: EAST,
  kind: "Job",
  name,
  uid: Uid.parse(`uid of ${name}`),
  resourceVersion: String(rv),
  suspended: true,
  active: 0,
  problems: [],
  ...more,
});

const seen = (ledger: Ledger, name: string, rv: number, more: Partial<PreparedObject> = {}): Promise<void> =>
  ledger.putPrepared({ digest: `${name} ${rv}`, body: definition(`east/${name}`), prepared: prepared(name, rv, more) });

const stateOf = async (ledger: Ledger): Promise<readonly string[]> =>
  (await ledger.definitions()).map(({ body, digest, prepared }) =>
    [body.name, digest, prepared?.goneAtMs === undefined ? "" : "gone"].join(" ").trim(),
  );

export async function discovering(t: Test, { open }: Conforming): Promise<void> {
  const discover = { annotation: "job-assistant=enable" };
  const groups = groupsOf(1, 1).map((it) => ({ ...it, settings: { ...it.settings, ...(it.name === EAST && { discover }) } }));

  await t.test("files' definitions are put without those of clusters, and neither replaces the other", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groups);
    await seen(ledger, "b", 5);
    await ledger.putDefinitions([{ digest: "1", body: definition("a") }]);
    t.same(await stateOf(ledger), ["a 1", "east/b b 5"]);
    t.match((await ledger.definitions())[1], { prepared: prepared("b", 5), body: { image: "busybox" } });
    await ledger.putPrepared({ digest: "2", body: definition("a"), prepared: prepared("a", 9) });
    await ledger.putDefinitions([{ digest: "1", body: definition("a") }]);
    t.same(await stateOf(ledger), ["a 1", "east/b b 5"]);
    await ledger.putDefinitions([]);
    t.same(await stateOf(ledger), ["east/b b 5"]);
  });

  await t.test("of two pieces of news the newer counts, in whatever order they come; versions are numbers", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groups);
    await seen(ledger, "a", 10);
    await seen(ledger, "a", 9);
    t.same(await stateOf(ledger), ["east/a a 10"]);
    await ledger.losePrepared({ group: EAST, kind: "Job", resourceVersion: "9", uids: { only: prepared("a", 9).uid } });
    t.same(await stateOf(ledger), ["east/a a 10"], "a deletion of before");
    await ledger.losePrepared({ group: EAST, kind: "Job", resourceVersion: "11", uids: { only: prepared("a", 9).uid } });
    t.same(await stateOf(ledger), ["east/a a 10 gone"]);
    await seen(ledger, "a", 12, { uid: Uid.parse("another") });
    t.same(await stateOf(ledger), ["east/a a 12"], "made anew");
  });

  await t.test("a whole listing shows which are gone: of its group and kind, and as far as nothing newer is known", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groups);
    await seen(ledger, "a", 1);
    await seen(ledger, "b", 1);
    await seen(ledger, "late", 30);
    await seen(ledger, "timed", 1, { kind: "CronJob" });
    await ledger.losePrepared({ group: WEST, kind: "Job", resourceVersion: "20", uids: { allBut: [] } });
    t.same(await stateOf(ledger), ["east/a a 1", "east/b b 1", "east/late late 30", "east/timed timed 1"]);
    await ledger.losePrepared({ group: EAST, kind: "Job", resourceVersion: "20", uids: { allBut: [prepared("b", 1).uid] } });
    t.same(await stateOf(ledger), ["east/a a 1 gone", "east/b b 1", "east/late late 30", "east/timed timed 1"]);
  });

  await t.test("a group that no longer looks for prepared objects has none, and has them again with the setting", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groups);
    await seen(ledger, "a", 1);
    await ledger.putGroups(groupsOf(1, 1));
    t.same(await stateOf(ledger), []);
    await ledger.putGroups(groups);
    t.same(await stateOf(ledger), ["east/a a 1"]);
  });
}
