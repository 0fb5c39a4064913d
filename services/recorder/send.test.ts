/** One request over real sockets: to a server that the test scripts. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { openJudge } from "./addresses.ts";
import type { Outgoing } from "./rules.ts";
import { type Answer, openSender } from "./send.ts";

interface Got {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

const never = new AbortController().signal;

async function server(
  t: Test,
  answer: (response: ServerResponse, got: Got) => void,
): Promise<{ readonly origin: string; readonly got: Got[] }> {
  const got: Got[] = [];
  const http = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const it = { method: request.method, path: request.url, headers: request.headers, body };
      got.push(it);
      answer(response, it);
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    http.close();
    http.closeAllConnections();
  });
  return { origin: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, got };
}

function sending(t: Test, more: Partial<Parameters<typeof openSender>[0]> = {}, allow: readonly string[] = ["127.0.0.1"]) {
  const sender = openSender({ headers: {}, timeout: 5_000, inFlight: 2, caFile: undefined, ...more }, openJudge(allow));
  t.teardown(() => sender[Symbol.dispose]());
  return (url: string, outgoing: Partial<Outgoing> = {}): Promise<Answer> =>
    sender.send({ method: "POST", url, headers: { "content-type": "application/json" }, body: "{}", ...outgoing }, never);
}

t.test("sends the request as it is, with the sink's headers, and reads the answer", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "longshore-send-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const valueFile = join(folder, "token");
  writeFileSync(valueFile, "s3cret\n");
  const { origin, got } = await server(t, (response) => response.writeHead(404).end("no\n\u001b[31msuch   job"));
  const send = sending(t, { headers: { authorization: { valueFile, before: "Token " }, "x-app": "a" } });
  const answer = await send(`${origin}/jobs/a%2Fb?x=1`, { method: "PUT", body: '{"state":"é"}' });
  t.same(answer, { status: 404, retryAfterMs: undefined, says: "no [31msuch job" });
  t.match(got, [
    {
      method: "PUT",
      path: "/jobs/a%2Fb?x=1",
      body: '{"state":"é"}',
      headers: { authorization: "Token s3cret", "x-app": "a", "content-type": "application/json", "content-length": "14" },
    },
  ]);
  writeFileSync(valueFile, "changed");
  await send(`${origin}/`);
  t.equal(got[1]?.headers.authorization, "Token changed", "the file is read for each request");
  rmSync(valueFile);
  await t.rejects(send(`${origin}/`), { code: "HeaderFile", disposition: "retry", message: /authorization cannot be read/ });
});

const waits = [
  { name: "seconds", headers: { "retry-after": "120" }, want: 120_000 },
  { name: "a date", headers: { date: "Tue, 01 Jan 2030 00:00:00 GMT", "retry-after": "Tue, 01 Jan 2030 00:01:00 GMT" }, want: 60_000 },
  { name: "a date that has passed", headers: { date: "Tue, 01 Jan 2030 00:00:00 GMT", "retry-after": "Mon, 31 Dec 2029 00:00:00 GMT" }, want: 0 },
  { name: "nothing that can be read", headers: { "retry-after": "soon" }, want: undefined },
]; // biome-ignore format: a table
for (const { name, headers, want } of waits)
  t.test(`Retry-After: ${name}`, async (t) => {
    const { origin } = await server(t, (response) => response.writeHead(429, headers).end());
    t.equal((await sending(t)(`${origin}/`)).retryAfterMs, want);
  });

t.test("a redirect is the answer, and is not followed", async (t) => {
  const elsewhere = await server(t, (response) => response.end());
  const { origin } = await server(t, (response) => response.writeHead(307, { location: `${elsewhere.origin}/` }).end());
  t.match(await sending(t)(`${origin}/`), { status: 307 });
  t.equal(elsewhere.got.length, 0);
});

t.test("a silent sink is given up in time, whether it says nothing or never ends", async (t) => {
  const silent = await server(t, () => undefined);
  await t.rejects(sending(t, { timeout: 200 })(`${silent.origin}/`), { code: "TimedOut", disposition: "retry" });
  const endless = await server(t, (response) => void response.writeHead(200).write("a"));
  t.match(await sending(t, { timeout: 200 })(`${endless.origin}/`), { status: 200 }, "its head was the answer");
  const large = await server(t, (response) => response.writeHead(500).end("x".repeat(10_000_000)));
  const { status, says } = await sending(t)(`${large.origin}/`);
  t.equal(status, 500);
  t.equal(says.length, 200);
});

t.test("what does not answer says why", async (t) => {
  await t.rejects(sending(t)("http://127.0.0.1:9/"), { code: "ECONNREFUSED", disposition: "retry" });
  const { origin } = await server(t, (response) => response.destroy());
  await t.rejects(sending(t)(`${origin}/`), { code: "ECONNRESET", disposition: "retry" });
  const stop = AbortSignal.abort();
  const sender = openSender({ headers: {}, timeout: 5_000, inFlight: 2, caFile: undefined }, openJudge(["127.0.0.1"]));
  await t.rejects(sender.send({ method: "POST", url: `${origin}/`, headers: {}, body: "" }, stop), { code: "Stopped" });
  sender[Symbol.dispose]();
});

t.test("no connection is made to an address that is not allowed, however it is written", async (t) => {
  const { origin, got } = await server(t, (response) => response.end());
  const port = new URL(origin).port;
  for (const host of ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
    await t.rejects(sending(t, {}, [])(`http://${host}:${port}/`), { code: "AddressRefused", disposition: "retry" }, host);
  await t.rejects(sending(t, {}, ["0.0.0.0/0", "::/0"])(`http://169.254.169.254/`), {
    code: "AddressRefused",
    message: /no sink may have/,
  });
  t.equal(got.length, 0);
  t.match(
    await sending(t, {}, ["127.0.0.0/8", "::1"])(`http://localhost:${port}/`),
    { status: 200 },
    "a name whose addresses are allowed",
  );
});
