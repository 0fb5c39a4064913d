/**
 * The recorder as a process, with the role of the database that `longshore ledger roles` prints for it, on a real Postgres and
 * to a real HTTP server.
 *
 * The failure this prevents: an event that an API never hears of, or hears of after a later one, because the recorder died
 * between a request and its record.
 */
// runs at most 6 min
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startChild } from "@longshore/cli/embedded/child.ts";
import { readEvent } from "@longshore/contract/messages/envelope.ts";
import { openDeliveries } from "@longshore/ledger/open-deliveries.ts";
import { rolesSql, ROLES } from "@longshore/ledger/postgres/schema/roles.ts";
import { claimed, complete, finish, INSTALLATION, wanted } from "@longshore/ledger/testing/conformance-parts.ts";
import { ledgerOn } from "@longshore/ledger/testing/conformance-postgres.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { Webhook } from "standardwebhooks";
import t from "tap";
import { pythonWithPika } from "../harness/python.ts";
import { example } from "../harness/readme.ts";
import { postgres } from "../harness/servers/postgres.ts";
import { sqlAt } from "../harness/servers/sql.ts";
import { program } from "../harness/servers/program.ts";

t.setTimeout(0); // each wait has its own bound

const KEYS = [1, 2].map((byte) => `whsec_${Buffer.alloc(32, byte).toString("base64")}`);
const STORY = ["run.accepted", "run.launched", "run.started", "run.succeeded"];

interface Got {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

await using server = await postgres({ unsafe: true });
const url = await server.database();
await using ledger = await ledgerOn(url);
await ledger.groups();

const sql = (text: string, as = url) => sqlAt(as, text);
await sql(rolesSql(ROLES));
await sql(rolesSql(ROLES)); // again after an upgrade
const asRole = async (name: string): Promise<string> => {
  await sql(`alter role ${name} password 'only-here'`);
  return Object.assign(new URL(url), { username: name, password: "only-here" }).href;
};
const recorderUrl = await asRole("longshore_recorder");

const got: Got[] = [];
const taken = (): number => 204;
let status: (it: Got) => number = taken;
const http = createServer((request, response) => {
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk.toString()));
  request.on("end", () => {
    const it = { path: request.url ?? "", headers: request.headers, body };
    got.push(it);
    response.writeHead(status(it)).end();
  });
});
await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
await using _http = {
  [Symbol.asyncDispose]: async () => {
    http.close();
    http.closeAllConnections();
  },
};

const folder = await mkdtemp(path.join(tmpdir(), "longshore-recorder-"));
await using _folder = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
await writeFile(path.join(folder, "keys"), KEYS.join("\n"));
await writeFile(path.join(folder, "ledger-url"), recorderUrl);
const config = path.join(folder, "recorder.yaml");
await writeFile(
  config,
  `installation: ${INSTALLATION}
ledger: { urlFile: ledger-url }
http: { listen: "127.0.0.1:0" }
addresses: { allow: [127.0.0.1] }
pace: { poll: 100ms, lease: 1s }
sinks:
  shop:
    signingKeysFile: keys
    timeout: 500ms
    rules: [{ on: ["run.*"], url: "http://127.0.0.1:${(http.address() as AddressInfo).port}/runs/\${{ event.run }}" }]
`,
);

const { LONGSHORE_CONFIG: _, ...env } = process.env;
const recorder = (more: Readonly<Record<string, string>> = {}, eager = false) =>
  startChild("recorder", { config, env: { ...env, ...more }, eager });

async function until(what: string, ready: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await ready()); tries++) {
    if (tries === 300) throw new Error(`${what} did not come within 30 s; ${got.length} requests came`);
    await sleep(100);
  }
}
const ofRun = (run: string): readonly Got[] => got.filter((it) => it.path === `/runs/${run}`);
const typeOf = ({ body }: Got): string => {
  const read = readEvent(Buffer.from(body));
  return read.kind === "event" ? read.event.type : "unreadable";
};
async function run(...ids: readonly string[]): Promise<void> {
  for (const work of await claimed(
    ledger,
    ids.map((id) => wanted(id)),
  ))
    await finish(ledger, work, complete);
}

await t.test("tells each event once, in order, signed by both keys", async (t) => {
  await using _recorder = await recorder();
  await run("orders/1", "orders/2");
  await until("the stories' ends", () => got.length >= 8);
  for (const id of ["orders%2F1", "orders%2F2"]) t.same(ofRun(id).map(typeOf), STORY);
  t.equal(got.length, 8);
  for (const { headers, body } of got) for (const key of KEYS) new Webhook(key).verify(body, headers as Record<string, string>);
  t.equal(new Set(got.map(({ headers }) => headers["webhook-id"])).size, 8);
});

await t.test("an event is told when the ledger says that it was recorded, not at the next look", async (t) => {
  got.length = 0;
  await using _recorder = await recorder({ LONGSHORE_PACE_POLL: "1h" });
  await run("at-once");
  await until("the story's end", () => ofRun("at-once").length >= 4);
  t.same(ofRun("at-once").map(typeOf), STORY);
});

/** A request that came, the keys by which it is signed, and another key. */
const toVerify = (): string => {
  const [first] = got;
  return JSON.stringify([first?.headers, first?.body, ...KEYS, `whsec_${Buffer.alloc(32, 3).toString("base64")}`]);
};

await t.test("the Python of deploy/README.md knows a request of ours from another's", async (t) => {
  const python = await pythonWithPika((sentence) => t.comment(sentence));
  const code = `${example("verify")}
import json, sys
headers, body, *keys = json.loads(sys.argv[1])
print([is_ours(headers, body.encode(), key) for key in keys], is_ours(headers, body.encode() + b" ", keys[0]))`;
  await using it = program(python, ["-c", code, toVerify()], { env: { LANG: "C.UTF-8" } });
  t.same(await it.ended, { code: 0, out: "[True, True, False] False\n", err: "" });
});

await t.test("and so does its Go", async (t) => {
  const at = path.join(folder, "verify");
  await mkdir(at);
  await writeFile(path.join(at, "verify.go"), example("verify", "go"));
  await writeFile(
    path.join(at, "main.go"),
    `package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	var asked []json.RawMessage
	headers := map[string]string{}
	texts := make([]string, 4)
	_ = json.Unmarshal([]byte(os.Args[1]), &asked)
	_ = json.Unmarshal(asked[0], &headers)
	for n := range texts {
		_ = json.Unmarshal(asked[n+1], &texts[n])
	}
	header := func(name string) string { return headers[name] }
	body := []byte(texts[0])
	for _, key := range texts[1:] {
		fmt.Print(isOurs(header, body, key), " ")
	}
	fmt.Println(isOurs(header, append(body, ' '), texts[1]))
}
`,
  );
  const files = [path.join(at, "verify.go"), path.join(at, "main.go")];
  await using it = program("go", ["run", ...files, toVerify()], { env: process.env });
  t.same(await it.ended, { code: 0, out: "true true false false\n", err: "" });
});

await t.test(
  "killed between an answer and its record, it repeats that request with the same webhook-id, and no other",
  async (t) => {
    got.length = 0;
    const first = await recorder({ LONGSHORE_FAILPOINT: "afterAnswer:kill:2" });
    await run("killed");
    t.equal(await first.ended, "SIGKILL");
    t.same(ofRun("killed").map(typeOf), STORY.slice(0, 2));
    await using _second = await recorder();
    await until("the story's end", () => ofRun("killed").some((it) => typeOf(it) === "run.succeeded"));
    t.same(ofRun("killed").map(typeOf), [STORY[0], STORY[1], STORY[1], STORY[2], STORY[3]]);
    const ids = ofRun("killed").map(({ headers }) => headers["webhook-id"]);
    t.equal(ids[1], ids[2]);
    t.equal(new Set(ids).size, 4);
  },
);

await t.test("a refused request is parked and told as metrics, and no run waits for it", async (t) => {
  got.length = 0;
  status = (it) => (typeOf(it) === "run.launched" && it.path.endsWith("refused") ? 422 : 204);
  await using it = await recorder();
  await run("refused", "taken");
  await until("the stories' ends", () => got.filter((it) => typeOf(it) === "run.succeeded").length === 2);
  await until("an empty list", async () => /longshore_sink_waiting\{sink="shop"\} 0/.test(await it.metrics()));
  const metrics = await it.metrics();
  t.match(metrics, 'longshore_sink_parked{sink="shop"} 1');
  t.match(metrics, 'longshore_sink_requests_total{sink="shop",code="422"} 1');
  t.match(metrics, 'longshore_sink_behind_seconds{sink="shop"} 0');
  t.match(metrics, 'longshore_part_up{part="ledger"} 1');
  status = taken;
  await using deliveries = await openDeliveries({ url, installation: INSTALLATION, log: silentLog });
  t.equal(await deliveries.retry("shop"), 1);
  await until("the parked request", () => ofRun("refused").length === 5);
});

await t.test("before the first launcher has made the ledger, a recorder waits for it", async (t) => {
  const empty = await server.database();
  await writeFile(path.join(folder, "empty-url"), empty);
  const waiting = recorder({ LONGSHORE_LEDGER_URL_FILE: path.join(folder, "empty-url") });
  await sleep(1_000);
  await using _made = await ledgerOn(empty);
  await using it = await waiting;
  t.match(await it.metrics(), 'longshore_part_up{part="ledger"} 1');
  t.notMatch(it.said.join("\n"), /whsec_|only-here/);
});

// biome-ignore format: a table is read down its columns
const FORBIDDEN = [
  { name: "a run's request", text: "select * from longshore.run_spec" },
  { name: "a run's plan", text: "select plan from longshore.run" },
  { name: "attempts", text: "select * from longshore.attempt" },
  { name: "a change of a run", text: "update longshore.run set state = 'ended'" },
  { name: "a new event", text: "insert into longshore.event select 1, 1, 1, 1, null, 'run.lost', '{}', now()" },
  { name: "a change of an event", text: "update longshore.event set type = 'run.lost'" },
  { name: "a deletion of a line", text: "delete from longshore.sink_line" },
  { name: "a change of the installation", text: "update longshore.installation set epoch = 9" },
  { name: "a table of its own", text: "create table longshore.mine (it text)" },
];
for (const { name, text } of FORBIDDEN)
  await t.test(`its role allows no ${name}`, async (t) => {
    await t.rejects(sql(text, recorderUrl), { code: "42501" });
  });

await t.test("a launcher's role does a launcher's work, and changes no schema", async (t) => {
  const as = await asRole("longshore_launcher");
  await using own = await ledgerOn(as, { migrate: false });
  for (const work of await claimed(own, [wanted("by-role")])) await finish(own, work, complete);
  t.equal((await own.story(wanted("by-role").run ?? ("" as never), 0, 10)).length, 4);
  await own.prune(10);
  await t.rejects(sql("alter table longshore.run add column x text", as), { code: "42501" });
  await t.rejects(sql("delete from longshore.migration", as), { code: "42501" });
});
