/**
 * `longshore up --sinks FILE`: an API is told of a run that a person published, and the commands show and mend what it refused.
 *
 * The failure this prevents: a recorder that works as a program of its own, and not in the Longshore that people try first.
 */
// runs at most 3 min
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { emptyFolder, longshore, longshoreUp } from "../harness/longshore.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const got: string[] = [];
let refuses = true;
const http = createServer((request, response) => {
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk.toString()));
  request.on("end", () => {
    got.push(`${request.method} ${request.url} ${body}`);
    response.writeHead(refuses && body.includes("R") ? 409 : 200).end("not now");
  });
});
await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
await using _http = {
  [Symbol.asyncDispose]: async () => {
    http.close();
    http.closeAllConnections();
  },
};

await using folder = await emptyFolder();
const api = `http://127.0.0.1:${(http.address() as AddressInfo).port}/jobs`;
await writeFile(
  path.join(folder.path, "recorder.yaml"),
  `installation: ignored here
addresses: { allow: [127.0.0.1] }
sinks:
  bespin:
    rules:
      - { on: [run.started], match: { run: "bespin/{job}" }, method: PUT, url: "${api}/\${{ match.job }}/", body: { state: R } }
      - { on: [run.succeeded], match: { run: "bespin/{job}" }, method: PUT, url: "${api}/\${{ match.job }}/", body: { state: F } }
`,
);

const called = async (...args: readonly string[]) => await longshore(folder.path, ...args);
async function until(count: number): Promise<void> {
  for (let tries = 0; got.length < count; tries++) {
    if (tries === 300) throw new Error(`${got.length} requests came, not ${count}`);
    await sleep(100);
  }
}

await using up = await longshoreUp(folder.path, "--sinks", "recorder.yaml");
await up.prints("sinks     bespin");

await t.test("a file without a sink, and one that is no recorder's, are refused before anything is started", async (t) => {
  await writeFile(path.join(folder.path, "none.yaml"), "sinks: {}\n");
  t.match(await called("up", "--sinks", "none.yaml"), { code: 64, err: /none\.yaml has no sink/ });
  await writeFile(path.join(folder.path, "other.yaml"), "groups: {}\n");
  t.match(await called("up", "--sinks", "other.yaml"), { code: 1, err: /groups: no such setting/ });
});

await t.test("the API is told of a run, and of no other", async (t) => {
  const publish = async (run: string) =>
    t.match(await called("publish", "--run", run, "--image", "busybox", "--follow", "--", "sh", "-c", "true"), { code: 0 });
  await publish("other/1");
  await publish("bespin/7");
  await until(2);
  t.same(got, ['PUT /jobs/7/ {"state":"R"}', 'PUT /jobs/7/ {"state":"F"}']);
});

await t.test("`sinks list` shows what was refused, and `doctor` warns of it", async (t) => {
  const { code, out } = await called("sinks", "list");
  t.equal(code, 0);
  t.match(out, /WELL +bespin +0 +- +- +1\n/);
  t.match(out, /request +bespin +bespin\/7 +3 +1 .* 409\n +It answered 409: not now\n +.*sinks retry bespin bespin\/7\n/);
  t.match(JSON.parse((await called("sinks", "list", "bespin", "--json")).out), {
    sinks: [{ sink: "bespin", state: "well", parkedRequests: 1, waiting: 0 }],
    parked: [{ run: "bespin/7", kind: "request", sequence: 3, rule: 1, why: { code: "409" } }],
  });
  t.match((await called("doctor")).out, /sink bespin +WARN +1 refused or given up/);
});

await t.test("`sinks retry` sends it again with the rules as they are, and `sinks drop` gives up", async (t) => {
  t.match(await called("sinks", "retry", "bespin"), { code: 0, out: /sent again/ });
  await until(3);
  refuses = false;
  await sleep(500); // until the second refusal is written down
  t.match(await called("sinks", "retry", "bespin", "bespin/7"), { code: 0 });
  await until(4);
  t.equal(got[3], 'PUT /jobs/7/ {"state":"R"}');
  await sleep(500);
  t.match(await called("sinks", "drop", "bespin"), { code: 1, err: /nothing of the sink bespin waits for a person/ });
  t.match(await called("sinks", "retry", "bespinn"), { code: 64, err: /there is no sink "bespinn"; .*did you mean bespin\?/ });
  t.match(await called("sinks", "forget", "bespin"), { code: 1, err: /a recorder serves the sink bespin/ });
  t.match(await called("sinks", "retry"), { code: 64, err: /needs a sink's name/ });
});

await t.test("`ledger roles` prints SQL that names each service", async (t) => {
  const { code, out } = await called("ledger", "roles");
  t.equal(code, 0);
  for (const role of ["longshore_launcher", "longshore_recorder"]) t.match(out, `create role ${role} login`);
  t.notMatch((await called("ledger", "roles", "--role", "recorder")).out, "longshore_launcher");
});
