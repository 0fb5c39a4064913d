import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer, type Socket } from "node:net";
import { Failure } from "@longshore/contract/problem.ts";
import t, { type Test } from "tap";
import type { Connection, Trust } from "./connection.ts";
import { type ExchangeOptions, openTransport } from "./exchange.ts";
import { isUntrusted, networkCode } from "./silence.ts";
import { authority, clientCertificate, clientKey, serverCertificate, serverKey } from "./testing/certificates.ts";
import type { ApiRequest, Transport } from "./transport.ts";

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;
const never = new AbortController().signal;
const json = { "content-type": "application/json" };
const jobs: ApiRequest = { method: "POST", path: "/apis/batch/v1/namespaces/batch/jobs?timeout=10s", body: { kind: "Job" } };
const list: ApiRequest = { method: "GET", path: "/apis/batch/v1/namespaces/batch/jobs" };

async function listening(t: Test, server: Server | TcpServer): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function answering(answer: Answer) {
  return (request: IncomingMessage, response: ServerResponse) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => answer(request, response, body));
  };
}

interface Identity {
  readonly trust?: Partial<Trust>;
  readonly tokens?: readonly string[];
}

function connectionTo(server: string, { trust = {}, tokens = [] }: Identity = {}): Connection & { rejections: number } {
  const whole: Trust = { ca: undefined, cert: undefined, key: undefined, serverName: undefined, verify: true, ...trust };
  const connection = {
    server,
    description: server,
    rejections: 0,
    trust: async () => whole,
    authorization: async () => {
      const token = tokens[Math.min(connection.rejections, tokens.length - 1)];
      return token === undefined ? undefined : `Bearer ${token}`;
    },
    rejected: () => void connection.rejections++,
    expiresAtMs: () => undefined,
  };
  return connection;
}

async function open(
  t: Test,
  answer: Answer,
  options: ExchangeOptions & Identity & { readonly path?: string } = {},
): Promise<Transport> {
  const port = await listening(t, createServer(answering(answer)));
  const transport = openTransport(connectionTo(`http://127.0.0.1:${port}${options.path ?? ""}`, options), options);
  t.teardown(() => transport[Symbol.asyncDispose]());
  return transport;
}

async function failure(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("It should have failed.");
}

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

t.test("gives text back as text, also where it looks like JSON", async (t) => {
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
    name: "what says it is JSON is none",
    answer: (_request, response) => response.writeHead(201, json).end("<html>"),
    says: /JSON/,
  },
  {
    name: "JSON was cut where its head did not say so",
    answer: (_request, response) => response.writeHead(201, json).end('{"kind":'),
    says: /JSON/,
  },
  {
    name: "the answer has no bound",
    answer: (_request, response) => response.writeHead(201, json).end(`"${"x".repeat(10_000)}"`),
    options: { answerMaxBytes: 5_000 },
    says: /longer than 5000 bytes/,
  },
  { name: "what comes is not HTTP", answer: (request) => request.socket.end("220 smtp.example ESMTP\r\n"), says: /./ },
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

t.test("reads the token again after a 401, and sends again only where it has changed", async (t) => {
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

t.test("gives a stream's lines as they come, whole whatever the chunks", async (t) => {
  const lines = ['{"type":"ADDED","n":"ä€😀"}', '{"type":"BOOKMARK"}', "third"];
  const bytes = Buffer.from(`${lines.join("\n")}\n`);
  const transport = await open(t, (_request, response) => {
    response.writeHead(200, json);
    // One byte a chunk: every character of several bytes is split.
    const next = (at: number) =>
      at === bytes.length ? response.end() : response.write(bytes.subarray(at, at + 1), () => next(at + 1));
    next(0);
  });
  const stream = await transport.open({ method: "GET", path: "/watch" }, never);
  t.equal(stream.status, 200);
  const got: string[] = [];
  for await (const line of stream.lines) got.push(line);
  t.same(got, lines);
});

t.test("a stream stays open through silence that no request would survive", async (t) => {
  let say = () => {};
  const transport = await open(
    t,
    (_request, response) => {
      response.writeHead(200, json).flushHeaders();
      say = () => void response.end("late\n");
    },
    { silenceMs: 50 },
  );
  const stream = await transport.open({ method: "GET", path: "/watch" }, never);
  const got: string[] = [];
  // Only when a request has been given up for its silence does the stream speak.
  const stop = await open(t, () => undefined, { silenceMs: 50 });
  await failure(stop.send(list, never));
  say();
  for await (const line of stream.lines) got.push(line);
  t.same(got, ["late"]);
});

const cuts: readonly {
  readonly name: string;
  readonly play: Answer;
  readonly options?: ExchangeOptions;
  readonly says: RegExp;
}[] = [
  {
    name: "ends properly in the middle of a line",
    play: (_request, response) => response.writeHead(200, json).end('whole\n{"type":"AD'),
    says: /middle of a line/,
  },
  {
    name: "is cut in the middle of a line",
    play: (request, response) => {
      response.writeHead(200, json);
      response.write('whole\n{"type":"AD', () => setImmediate(() => request.socket.resetAndDestroy()));
    },
    says: /reset|closed|terminated/,
  },
  {
    name: "sends a line without end",
    play: (_request, response) => response.writeHead(200, json).end(`whole\n${"x".repeat(5_000)}\n`),
    options: { lineMaxChars: 1_000 },
    says: /more than 1000 characters/,
  },
];

for (const { name, play, options = {}, says } of cuts) {
  t.test(`throws, after the whole lines, where a stream ${name}`, async (t) => {
    const transport = await open(t, play, options);
    const stream = await transport.open({ method: "GET", path: "/watch" }, never);
    const got: string[] = [];
    const read = async () => {
      for await (const line of stream.lines) got.push(line);
    };
    t.match((await failure(read())).message, says);
    t.same(got, ["whole"]);
  });
}

t.test("a refused stream gives its status and the reason", async (t) => {
  const transport = await open(t, (_request, response) =>
    response.writeHead(410, json).end('{"kind":"Status","reason":"Expired"}'),
  );
  const stream = await transport.open({ method: "GET", path: "/watch" }, never);
  t.equal(stream.status, 410);
  t.match(stream.body, { reason: "Expired" });
});

t.test("an aborted stream ends its reader and its connection", async (t) => {
  let closed = () => {};
  const gone = new Promise<void>((resolve) => (closed = resolve));
  const transport = await open(t, (request, response) => {
    request.socket.on("close", () => closed());
    response.writeHead(200, json);
    response.write("first\n");
  });
  const stop = new AbortController();
  const stream = await transport.open({ method: "GET", path: "/watch" }, stop.signal);
  const read = async () => {
    for await (const _line of stream.lines) stop.abort();
  };
  t.equal((await failure(read())).disposition, "retry");
  await gone;
});

t.test("leaving a stream closes its connection", async (t) => {
  let closed = () => {};
  const gone = new Promise<void>((resolve) => (closed = resolve));
  const transport = await open(t, (request, response) => {
    request.socket.on("close", () => closed());
    response.writeHead(200, json);
    response.write("first\n");
  });
  const stream = await transport.open({ method: "GET", path: "/watch" }, never);
  for await (const line of stream.lines) {
    t.equal(line, "first");
    break;
  }
  await gone;
});

t.test("over TLS", async (t) => {
  const tls = { cert: serverCertificate, key: serverKey, ca: authority, requestCert: true, rejectUnauthorized: false };
  const server = createTlsServer(
    tls,
    answering((request, response) => {
      const peer =
        "getPeerCertificate" in request.socket
          ? (request.socket as import("node:tls").TLSSocket).getPeerCertificate()
          : undefined;
      response.writeHead(200, json).end(JSON.stringify({ client: peer?.subject?.CN ?? "nobody" }));
    }),
  );
  const port = await listening(t, server);
  const to = (trust: Partial<Trust>, host = "127.0.0.1") => {
    const transport = openTransport(connectionTo(`https://${host}:${port}`, { trust }));
    t.teardown(() => transport[Symbol.asyncDispose]());
    return transport;
  };

  await t.test("trusts the cluster's own CA and shows a client certificate", async (t) => {
    const answer = await to({ ca: authority, cert: clientCertificate, key: clientKey }).send(list, never);
    t.same(answer.body, { client: "client" });
  });
  await t.test("does not trust it without that CA, and has sent nothing", async (t) => {
    const failed = await failure(to({}).send(jobs, never));
    t.equal(failed.code, "unsent");
    t.ok(isUntrusted(networkCode(failed)), networkCode(failed) ?? "no code");
    t.match(failed.message, /authority we do not know/);
  });
  await t.test("does not take a certificate for another name", async (t) => {
    const failed = await failure(to({ ca: authority, serverName: "other.example" }).send(jobs, never));
    t.equal(failed.code, "unsent");
    t.match(failed.message, /for another name/);
  });
  await t.test("takes anything only where the config says so", async (t) => {
    t.equal((await to({ verify: false }).send(list, never)).status, 200);
  });
  await t.test("says what is wrong when TLS meets plain HTTP", async (t) => {
    const plain = await listening(t, createServer(answering((_request, response) => response.end())));
    const transport = openTransport(connectionTo(`https://127.0.0.1:${plain}`, { trust: { ca: authority } }));
    t.teardown(() => transport[Symbol.asyncDispose]());
    const failed = await failure(transport.send(jobs, never));
    t.equal(failed.code, "unsent");
    t.match(failed.message, /TLS/);
  });
});
