/** Definitions while the launcher runs: changed files, files with mistakes, half-written files, and other launchers. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DefinitionName } from "@longshore/contract/ids.ts";
import t, { type Test } from "tap";
import { definitionsAtStart, knownDefinitions, watchDefinitions } from "./known.ts";
import { stage } from "../testing/stage.ts";

const greet = (image: string): string => `name: greet\nimage: ${image}\n`;
const GREET = DefinitionName.parse("greet");

async function watching(t: Test, { onSleep }: { readonly onSleep?: (ms: number, write: (text: string) => void) => void } = {}) {
  const dir = mkdtempSync(join(tmpdir(), "longshore-definitions-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const write = (text: string): void => writeFileSync(join(dir, "greet.yaml"), text);
  write(greet("one"));
  const { parts, said, clock } = await stage(t);
  const first = await definitionsAtStart(dir);
  await parts.ledger.putDefinitions(first.definitions);
  const stop = new AbortController();
  const sleep: typeof clock.sleep = async (ms, signal) => {
    onSleep?.(ms, write);
    await clock.sleep(ms, signal);
  };
  const loop = watchDefinitions({ ...parts, clock: { ...clock, sleep } }, { dir, first });
  const running = loop(stop.signal);
  t.teardown(() => (stop.abort(), running));
  /** Waits until this much virtual time is over and the loop has looked again. */
  const pass = async (ms: number): Promise<void> => {
    for (const untilMs = clock.now() + ms; clock.now() < untilMs; ) await new Promise((resolve) => setImmediate(resolve));
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  const image = async (): Promise<string | undefined> => {
    const body = (await parts.definitions.find(GREET))?.body;
    return body && "image" in body ? body.image : undefined;
  };
  return { parts, said, clock, write, pass, image };
}

t.test("a changed file is taken while the launcher runs", async (t) => {
  const it = await watching(t);
  t.equal(await it.image(), "one");
  it.write(greet("two"));
  await it.pass(30_000);
  t.equal(await it.image(), "two");
  t.match(await it.parts.metrics.text(), /longshore_definition_problems 0/);
});

t.test("a change with a mistake keeps the definition that worked, says so once, and goes when it is mended", async (t) => {
  const it = await watching(t);
  it.write("name: greet\nimge: two\n");
  await it.pass(100_000);
  t.equal(await it.image(), "one");
  t.match(it.said, [
    {
      level: "error",
      message: /stay as they were/,
      fields: { problems: [/greet\.yaml: \/image/, /greet\.yaml:2: \/imge: .*"image"/] },
    },
  ]);
  t.match(await it.parts.metrics.text(), /longshore_definition_problems 2/);
  it.write(greet("three"));
  await it.pass(30_000);
  t.equal(await it.image(), "three");
});

t.test("a file that is read while it is written is not taken before it is whole", async (t) => {
  let halves = 0;
  const it = await watching(t, {
    // The editor goes on after our first look: what stood there was a valid definition, and not what was meant.
    onSleep: (ms, write) => {
      if (ms === 1_000 && ++halves === 1) write(greet("whole"));
    },
  });
  const seen: (string | undefined)[] = [];
  const { putDefinitions } = it.parts.ledger;
  Object.assign(it.parts.ledger, {
    putDefinitions: async (put: Parameters<typeof putDefinitions>[0]) => {
      seen.push(...put.map(({ body }) => ("image" in body ? body.image : undefined)));
      await putDefinitions(put);
    },
  });
  it.write(greet("half"));
  await it.pass(60_000);
  t.same(seen, ["whole"]);
  t.equal(await it.image(), "whole");
});

t.test("a launcher without files finds what another launcher's files hold, at once if the name is new to it", async (t) => {
  const { parts } = await stage(t);
  const definitions = knownDefinitions(parts.ledger);
  t.equal(await definitions.find(GREET), undefined);
  const body = { name: GREET, image: "one" };
  await parts.ledger.putDefinitions([{ digest: "1", body }]);
  t.match(await definitions.find(GREET), { digest: "1" });
  await parts.ledger.putDefinitions([{ digest: "2", body }]);
  await definitions.refresh();
  t.match(await definitions.find(GREET), { digest: "2" });
  t.equal(definitions.nearestTo(DefinitionName.parse("gret")), "greet");
});

t.test("a start with a mistake in a file tells all of them", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "longshore-definitions-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, "a.yaml"), "name: a\n");
  writeFileSync(join(dir, "b.yaml"), "name: b\n");
  await t.rejects(definitionsAtStart(dir), { name: "ConfigProblems", problems: [/a\.yaml/, /b\.yaml/] });
});
