/**
 * The client as upstream gets it: packed by npm, installed into a project that knows nothing of this repository, checked by a
 * strict compiler, and run by Node 20 as its README prints it.
 */
// needs rabbitmq
import { readFileSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { emptyFolder } from "../harness/longshore.ts";
import { run } from "../harness/builds/cached.ts";
import { node20 } from "../harness/builds/node20.ts";
import { rabbitmq } from "../harness/rabbitmq/server.ts";
import { consumed, deleteQueue, laterGenerations, queueOfEvents, waitingIn } from "../harness/readme.ts";
import { program } from "../harness/servers/program.ts";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait has its own bound

const ROOT = path.resolve(import.meta.dirname, "../..");
const CLIENT = path.join(ROOT, "packages/client");
const RUN = "orders/8812/export";
const OTHER = "orders/8811/export";
const say = (sentence: string) => t.comment(sentence);

function example(name: string): string {
  const blocks = readFileSync(path.join(CLIENT, "README.md"), "utf8").matchAll(
    /<!-- client example: (\w+) -->\n```js\n([\s\S]*?)\n```/g,
  );
  for (const [, found, code = ""] of blocks) if (found === name) return code;
  throw new Error(`the client's README has no JavaScript block behind a comment "client example: ${name}"`);
}

/**
 * A folder outside the checkout, so that Node does not find the checkout's node_modules. No registry is asked: zod, the
 * package's only dependency, and the broker's client are linked from ours.
 */
const scratch = await emptyFolder();
t.teardown(() => scratch[Symbol.asyncDispose]());
const folder = scratch.path;
const project = path.join(folder, "project");
await mkdir(project);
await run("npm", ["pack", "--pack-destination", folder], { cwd: CLIENT, what: "packing the client", say });
const tarball = path.join(folder, (await readdir(folder)).find((it) => it.endsWith(".tgz")) ?? "nothing was packed");
await writeFile(path.join(project, "package.json"), '{ "type": "module", "private": true }');
const linked = ["zod", "amqplib", "@types/amqplib", "@types/node"].map((name) => path.join(ROOT, "node_modules", name));
const install = ["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts"];
await run("npm", [...install, ...linked, tarball], { cwd: project, what: "installing the client", say });

t.test("the package holds JavaScript with its types, README and licence, and nothing else", async (t) => {
  const files = (await run("tar", ["-tzf", tarball]))
    .trim()
    .split("\n")
    .map((it) => it.replace(/^package\//, ""));
  const compiled = /^dist\/(client|contract)\/([a-z]+\/)?[a-z-]+\.(js|d\.ts)$/;
  t.same(files.filter((it) => !compiled.test(it)).toSorted(), ["LICENSE", "README.md", "package.json"]);
  t.same(
    files.filter((it) => it.startsWith("dist/client/")).toSorted(),
    ["request", "story"].flatMap((it) => [`dist/client/${it}.d.ts`, `dist/client/${it}.js`]),
  );
  for (const it of files.filter((it) => it.endsWith(".js"))) t.ok(files.includes(it.replace(/\.js$/, ".d.ts")), it);
  t.equal(await readFile(path.join(CLIENT, "LICENSE"), "utf8"), await readFile(path.join(ROOT, "LICENSE"), "utf8"));
});

const IMPORTS = `
import { isTerminal } from "@longshore/client/contract/event";
import { readEvent } from "@longshore/client/contract/envelope";
import { type Message, message } from "@longshore/client/request";
import { story } from "@longshore/client/story";
`;
const RIGHT = `${IMPORTS}
const made: Message = message({ source: "/shop" }, "run.requested", { run: "a", image: "busybox", deadline: "15m" });
export const body: Uint8Array | string = made.kind === "message" ? made.body : made.problems.map((it) => it.message).join();
const { hear } = story({ lastApplied: (run: string) => run.length });
export function ends(bytes: Uint8Array): readonly boolean[] {
  const read = readEvent(bytes);
  if (read.kind === "unreadable") return [];
  const heard = hear(read.event);
  return heard.kind === "told" ? heard.events.map(({ type }) => isTerminal(type)) : [];
}
export function outcome(bytes: Uint8Array): string | undefined {
  const read = readEvent(bytes);
  if (read.kind === "unreadable" || !isTerminal(read.event.type)) return undefined;
  const type: "run.succeeded" | "run.failed" | "run.cancelled" | "run.lost" = read.event.type;
  return [read.event.data.run, type].join(" ");
}
export function codes(bytes: Uint8Array): readonly string[] {
  const read = readEvent(bytes);
  const heard = read.kind === "event" ? hear(read.event) : undefined;
  if (heard?.kind !== "told") return [];
  return heard.events.flatMap((event) => (event.type === "run.failed" ? [event.data.diagnosis.code] : []));
}
`;
const WRONG = [
  'message({ source: "/shop" }, "run.requested", { run: "a", image: 1 });',
  'message({ source: "/shop" }, "run.started", { run: "a" });',
  "story().hear(new Uint8Array());",
  'const read = readEvent(new Uint8Array()); if (read.kind === "event") read.event.data.diagnosis;',
];

t.test("a strict TypeScript project compiles against the types, and what is wrong does not compile", async (t) => {
  for (const [module, moduleResolution] of [
    ["nodenext", "nodenext"],
    ["esnext", "bundler"],
  ] as const) {
    const compilerOptions = { strict: true, noEmit: true, target: "es2022", module, moduleResolution, types: [] };
    const compiled = async (code: string) => {
      await writeFile(path.join(project, "consumer.ts"), code);
      await writeFile(path.join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
      const compiler = path.join(ROOT, "node_modules/typescript/bin/tsc");
      return await program(process.execPath, [compiler, "-p", project], { env: process.env }).ended;
    };
    t.same(await compiled(RIGHT), { code: 0, out: "", err: "" }, moduleResolution);
    const { out } = await compiled(IMPORTS + WRONG.join("\n"));
    const lines = [...out.matchAll(/consumer\.ts\((\d+),\d+\): error/g)].map(([, line]) => Number(line));
    const first = IMPORTS.split("\n").length;
    t.same(
      lines,
      WRONG.map((_, at) => first + at),
      moduleResolution,
    );
  }
});

t.test("the README's examples compile in a strict TypeScript project, as they are printed", async (t) => {
  const files = ["publish", "restart", "follow"].map((name) => `${name}.ts`);
  for (const file of files) await writeFile(path.join(project, file), example(path.parse(file).name));
  const compilerOptions = { strict: true, noEmit: true, target: "es2022", module: "nodenext", types: ["node"] };
  await writeFile(path.join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
  const compiler = path.join(ROOT, "node_modules/typescript/bin/tsc");
  const compiled = program(process.execPath, [compiler, "-p", project], { env: process.env });
  t.same(await compiled.ended, { code: 0, out: "", err: "" });
});

t.test("Node 20 publishes a run and follows its whole story, as printed in the client's README", async (t) => {
  const node = await node20(say);
  await using rabbit = await rabbitmq({ version: "4.0", shared: true, say });
  await using system = await openSystem({ brokerUrl: rabbit.url });
  await system.watcher();
  await system.launcher();
  const started = async (name: string, of = RUN, change = (code: string) => code) => {
    await writeFile(path.join(project, `${name}.js`), change(example(name).replace(RUN, of)));
    return program(node, [`${name}.js`], { cwd: project, env: { AMQP_URL: rabbit.url } });
  };

  await queueOfEvents(rabbit.url, "shop");
  await laterGenerations(rabbit.url, "shop");
  await using elsewhere = await started("publish", OTHER);
  t.match(await elsewhere.ended, { code: 0 }, "another run's events are in the queue first");
  await system.ended([OTHER]);

  await using follower = await started("follow");
  await consumed(rabbit.url, "shop");
  await using publisher = await started("publish");
  t.same(await publisher.ended, { code: 0, out: `sent: ${RUN}\n`, err: "" }, "what the publisher prints");
  await system.ended([RUN]);
  const story = ["accepted", "launched", "started", "succeeded"].map((word, at) => `${RUN} ${at + 1} run.${word}\n`).join("");
  t.same(await follower.ended, { code: 0, out: story, err: "" }, "what the follower prints");
  t.equal(await waitingIn(rabbit.url, "shop"), 0, "it settled every event, the last one too");

  t.same(await system.faults([RUN]), []);
  t.equal((await system.created()).length, 2, "one Job was created for each run");

  await using again = await started("follow");
  await consumed(rabbit.url, "shop");
  const other = await started("publish", RUN, (code) => code.replace("busybox", "busybox:2").replace("/1`", "/2`"));
  t.match(await other.ended, { code: 0 }, "another message for the same run is refused, which ends no follower");
  const repeated = await started("publish", RUN, (code) => code.replace("persistent: true", 'persistent: true, replyTo: "shop"'));
  t.match(await repeated.ended, { code: 0 });
  const known = `${RUN} is there already: ended succeeded\n`;
  t.same(await again.ended, { code: 0, out: known, err: "" }, "a duplicate ends the follower, too");
  const broken = (code: string) => code.replace("command: [", "comand: [");
  const mistaken = await started("publish", RUN, broken);
  t.match(
    await mistaken.ended,
    { code: 1, err: /^refused: \/data\/comand .*did you mean "command"\?\n$/ },
    "a problem is a line",
  );

  await using left = await started("follow", "orders/9999/never");
  await consumed(rabbit.url, "shop");
  await deleteQueue(rabbit.url, "shop");
  t.match(await left.ended, { code: 1, err: /somebody deleted the queue/ }, "a follower whose queue is deleted says so");
});
