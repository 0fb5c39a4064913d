import t from "tap";
import type { ExchangeOptions } from "./exchange.ts";
import { type Answer, failure, json, list, never, open } from "../testing/loopback.ts";

t.test("gives a stream's lines as they come, whole whatever the chunks", async (t) => {
  const lines = ['{"type":"ADDED","n":"ä€😀"}', '{"type":"BOOKMARK"}', "third"];
  const bytes = Buffer.from(`${lines.join("\n")}\n`);
  const transport = await open(t, (_request, response) => {
    response.writeHead(200, json);
    // Sends one byte in each chunk, so that every character of several bytes is split.
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
  // The server sends the stream's line only after a request with the same time limit was given up as silent.
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
  t.test(`throws, after the whole lines, if a stream ${name}`, async (t) => {
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
