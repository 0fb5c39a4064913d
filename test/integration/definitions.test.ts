/**
 * Definitions from files, as their users meet them: `longshore up` in a folder with config/definitions, and two launchers that
 * share a ledger and hold runs with one concurrency key apart.
 *
 * The failures this prevents: a mistake in a file that takes the working definition away; and two launchers that each let in a
 * run, where one was allowed.
 */
// runs at most 6 min
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { writeCommand } from "@longshore/contract/messages/envelope.ts";
import t from "tap";
import { emptyFolder, longshore, longshoreUp } from "../harness/longshore.ts";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const greet = (word: string): string => `name: greet
title: Say ${word}
owner: { name: Test team, contact: "#tests" }
parameters:
  type: object
  additionalProperties: false
  properties:
    times: { type: integer, minimum: 1, default: 1 }
image: busybox
command: [sh, -c, "echo ${word} $0", "\${{ parameters.times }}"]
`;

await t.test("a folder of definitions is read at the start, and again when it changes", async (t) => {
  await using folder = await emptyFolder();
  const dir = path.join(folder.path, "config/definitions");
  await mkdir(dir, { recursive: true });
  const file = path.join(dir, "greet.yaml");
  const ask = (...args: readonly string[]) => longshore(folder.path, ...args);
  const title = async (): Promise<string | undefined> => {
    const { code, out, err } = await ask("definitions", "list", "--json");
    return code === 0 ? (JSON.parse(out) as { title: string }[])[0]?.title : err;
  };

  await writeFile(file, greet("hello").replace("image:", "imge:"));
  const refused = await ask("up");
  t.match(refused, { code: 1, err: /greet\.yaml:9: \/imge: "imge" is not a field here: did you mean "image"\?/ });
  t.match(await ask("definitions", "check"), { code: 1, out: /greet\.yaml:9: \/imge/ });

  await writeFile(file, greet("hello"));
  t.match(await ask("definitions", "check"), { code: 0, out: /all well: greet/ });
  await using up = await longshoreUp(folder.path);
  t.match(await ask("definitions", "show", "greet"), {
    code: 0,
    out: /Say hello[\s\S]*Test team, #tests[\s\S]*times +integer, default 1[\s\S]*publish --definition greet/,
  });
  const run = ["publish", "--definition", "greet", "--run", "first", "-p", "times=2", "--follow"];
  t.match(await ask(...run), { code: 0, out: /hello 2/ });
  t.match(await ask(...run), { code: 0, out: /already ran/ });
  t.match(await ask("runs", "show", "first"), { code: 0, out: /made of +greet \([0-9a-f]{16}\)/ });
  t.match(JSON.parse((await ask("runs", "show", "first", "--json")).out), { run: "first", definition: "greet" });
  t.match(JSON.parse((await ask("runs", "list", "--json")).out), { runs: [{ run: "first", definition: "greet" }] });
  t.match(await ask("runs", "restart", "first", "--from", "start", "--with", "parameters.times=0"), {
    code: 1,
    out: /\/data\/with\/parameters\/times/,
  });
  t.match(await ask("publish", "--definition", "gret"), {
    code: 1,
    err: /no definition is named "gret"; there are greet; did you mean greet\?/,
  });
  t.match(await ask("publish", "--definition", "greet", "-p", "times=0", "-p", "x=1"), {
    code: 64,
    err: /-p times: At least 1 is allowed\.\n-p x: /,
  });

  await writeFile(file, greet("bye").replace("image:", "imge:"));
  await up.prints("the definitions stay as they were");
  t.equal(await title(), "Say hello");
  t.match(await ask("doctor"), { out: /definitions[\s\S]*imge/ });
  await writeFile(file, greet("bye"));
  for (let tries = 0; tries < 60 && (await title()) !== "Say bye"; tries++) await sleep(500);
  t.match(await ask("publish", "--definition", "greet", "--run", "second", "--follow"), {
    code: 0,
    out: /bye 1/,
  });
  t.match(await ask(...run), { code: 0, out: /already ran/ }, "a run stays what it was when it was accepted");
});

await t.test("two launchers let in no more runs of a key than its limit, and refuse what may not wait", async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), "longshore-definitions-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const log = path.join(dir, "log");
  const command = JSON.stringify(["sh", "-c", `echo + >> ${log}; sleep 0.3; echo - >> ${log}`]);
  await writeFile(path.join(dir, "two.yaml"), `name: two\nimage: busybox\ncommand: ${command}\nconcurrency: { limit: 2 }\n`);
  await using system = await openSystem({ launcher: { definitionsDir: dir } });
  await using _watcher = await system.watcher();
  await using _one = await system.launcher();
  await using _other = await system.launcher();
  const runs = Array.from({ length: 12 }, (_, n) => `two/${n}`);
  await Promise.all(runs.map((run) => system.command("run.requested", { run, definition: "two" })));
  for (const run of runs) await system.heard("run.accepted", run);
  const concurrency = { key: "two", limit: 2, then: "refuse" } as const;
  const data = { run: "two/last", image: "busybox", command: ["true"], concurrency };
  const body = writeCommand({ id: "last", source: "/tests", type: "run.requested", data });
  await system.broker.publish("commands", { id: "last", key: "any", body }, new AbortController().signal);
  await system.until("the refusal", () =>
    system.received.some(({ type, data }) => type === "command.refused" && data["command"] === "last"),
  );
  t.same(await system.faults(runs), []);
  let [now, most] = [0, 0];
  for (const line of (await readFile(log, "utf8")).trim().split("\n")) {
    now += line === "+" ? 1 : -1;
    most = Math.max(most, now);
  }
  t.equal(most, 2, "two at a time, and never three");
  t.match(
    system.received.filter(({ type }) => type === "run.waiting").map(({ data }) => data),
    [{ reason: "ConcurrencyLimit", concurrency: { key: "two", limit: 2 } }],
  );
});
