import type { ServerResponse } from "node:http";
import { createServer as createTcpServer } from "node:net";
import t from "tap";
import { type ExchangeOptions, openTransport } from "./exchange.ts";
import { networkCode } from "./silence.ts";
import { type Answer, connectionTo, failure, jobs, json, list, listening, never, open } from "../testing/loopback.ts";

t.test("sends JSON with the token and gives back status, headers and parsed body", async (t) => {
  const transport = await open(
    t,
    (request, response, body) => {
      response.writeHead(201, { ...json, Warning: "299 - careful" });
      response.end(
        JSON.stringify({ path: request.url, method: request.method, headers: request.headers, body: JSON.parse(body) }),
      );
    },
    { tokens: ["secret"], path: "/k8s/clusters/c-1" },
  );
  const answer = await transport.send({ ...jobs, accept: "application/json;as=PartialObjectMetadata" }, never);
  t.equal(answer.status, 201);
  t.equal(answer.headers["warning"], "299 - careful");
  t.match(answer.body, {
    path: "/k8s/clusters/c-1/apis/batch/v1/namespaces/batch/jobs?timeout=10s",
    method: "POST",
    headers: {
      authorization: "Bearer secret",
      "content-type": "application/json",
      accept: "application/json;as=PartialObjectMetadata",
    },
    body: { kind: "Job" },
  });
});

t.test("returns text as text, even if it looks like JSON", async (t) => {
  const transport = await open(t, (_request, response) =>
    response.writeHead(200, { "content-type": "text/plain" }).end('{"a":1}\n'),
  );
  t.equal((await transport.send({ method: "GET", path: "/log" }, never)).body, '{"a":1}\n');
});

t.test("follows no redirect, for the token would go with it", async (t) => {
  let asked = 0;
  const transport = await open(t, (_request, response) => {
    asked++;
    response.writeHead(307, { location: "/elsewhere" }).end();
  });
  t.equal((await transport.send(list, never)).status, 307);
  t.equal(asked, 1);
});

t.test("keeps its connections", async (t) => {
  const ports = new Set<number | undefined>();
  const transport = await open(
    t,
    (request, response) => {
      ports.add(request.socket.remotePort);
      response.writeHead(200, json).end("{}");
    },
    { connections: 3 },
  );
  for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 8 }, () => transport.send(list, never)));
  t.ok(ports.size <= 3, `${ports.size} connections for 40 requests`);
});

interface Fault {
  readonly name: string;
  readonly answer: Answer;
  readonly options?: ExchangeOptions;
  readonly says: RegExp;
}

const whole = JSON.stringify({ kind: "Job" });
const faults: readonly Fault[] = [
  {
    name: "the connection is reset after the request",
    answer: (request) => request.socket.resetAndDestroy(),
    says: /reset|closed/,
  },
  { name: "the connection is closed after the request", answer: (request) => request.socket.destroy(), says: /closed/ },
  {
    name: "the answer is cut after its head",
    answer: (request, response) => {
      response.writeHead(201, { ...json, "content-length": "100" });
      response.write("{");
      setImmediate(() => request.socket.destroy());
    },
    says: /closed|reset|terminated/,
  },
  { name: "no answer comes", answer: () => undefined, options: { silenceMs: 300 }, says: /did not answer in time/ },
  {
    name: "the answer stops in the middle",
    answer: (_request, response) => {
      response.writeHead(201, { ...json, "content-length": "100" });
      response.write("{");
    },
    options: { silenceMs: 300 },
    says: /stopped in the middle/,
  },
  {
    name: "the answer is called JSON and is not",
    answer: (_request, response) => response.writeHead(201, json).end("<html>"),
    says: /JSON/,
  },
  {
    name: "JSON was cut, and its head does not show it",
    answer: (_request, response) => response.writeHead(201, json).end('{"kind":'),
    says: /JSON/,
  },
  {
    name: "the answer has no bound",
    answer: (_request, response) => response.writeHead(201, json).end(`"${"x".repeat(10_000)}"`),
    options: { answerMaxBytes: 5_000 },
    says: /longer than 5000 bytes/,
  },
  { name: "the answer is not HTTP", answer: (request) => request.socket.end("220 smtp.example ESMTP\r\n"), says: /./ },
];

for (const { name, answer, options = {}, says } of faults) {
  t.test(`says "unanswered" for a create when ${name}, and serves the next request`, async (t) => {
    let broken = true;
    const transport = await open(t, (...args) => (broken ? answer(...args) : args[1].writeHead(201, json).end(whole)), {
      connections: 1,
      ...options,
    });
    const failed = await failure(transport.send(jobs, never));
    t.equal(failed.code, "unanswered");
    t.equal(failed.disposition, "retry");
    t.match(failed.message, says);
    broken = false;
    t.equal((await transport.send(jobs, never)).status, 201);
  });
}

t.test('says "unsent" when nothing listens there', async (t) => {
  const server = createTcpServer();
  const port = await listening(t, server);
  await new Promise((resolve) => server.close(resolve));
  const transport = openTransport(connectionTo(`http://127.0.0.1:${port}`));
  t.teardown(() => transport[Symbol.asyncDispose]());
  const failed = await failure(transport.send(jobs, never));
  t.equal(failed.code, "unsent");
  t.match(failed.message, /nothing listens at this address \(ECONNREFUSED\)/);
  t.equal(networkCode(failed), "ECONNREFUSED");
  t.equal((await failure(transport.open(list, never))).code, "unsent");
});

t.test('says "unsent" when the name cannot be found', async (t) => {
  const transport = openTransport(connectionTo("http://no-such-cluster.invalid:6443"));
  t.teardown(() => transport[Symbol.asyncDispose]());
  const failed = await failure(transport.send(jobs, never));
  t.equal(failed.code, "unsent");
  t.match(failed.message, /DNS/);
});

t.test('a request given up while it waits for a connection is "unsent" and is never sent', async (t) => {
  const arrived: string[] = [];
  const held: ServerResponse[] = [];
  let reached = () => {};
  const first = new Promise<void>((resolve) => (reached = resolve));
  const transport = await open(
    t,
    (request, response) => {
      arrived.push(request.url ?? "");
      if (request.url === "/first") {
        held.push(response);
        reached();
      } else response.writeHead(200, json).end("{}");
    },
    { connections: 1 },
  );
  const busy = transport.send({ method: "GET", path: "/first" }, never);
  await first;
  const stop = new AbortController();
  const waiting = failure(transport.send({ ...jobs, path: "/given-up" }, stop.signal));
  setImmediate(() => stop.abort());
  t.equal((await waiting).code, "unsent");
  held[0]?.writeHead(200, json).end("{}");
  await busy;
  t.equal((await transport.send({ method: "GET", path: "/last" }, never)).status, 200);
  t.same(arrived, ["/first", "/last"]);
});

t.test('a request given up after it was sent is "unanswered"', async (t) => {
  const stop = new AbortController();
  const transport = await open(t, () => stop.abort());
  t.equal((await failure(transport.send(jobs, stop.signal))).code, "unanswered");
});

t.test("reads the token again after a 401, and sends again only if it has changed", async (t) => {
  const seen: (string | undefined)[] = [];
  const answer: Answer = (request, response) => {
    seen.push(request.headers.authorization);
    const good = request.headers.authorization === "Bearer new";
    response.writeHead(good ? 200 : 401, json).end("{}");
  };
  const rotated = await open(t, answer, { tokens: ["old", "new"] });
  t.equal((await rotated.send(list, never)).status, 200);
  t.same(seen.splice(0), ["Bearer old", "Bearer new"]);
  const revoked = await open(t, answer, { tokens: ["old"] });
  t.equal((await revoked.send(list, never)).status, 401);
  t.same(seen, ["Bearer old"]);
});
