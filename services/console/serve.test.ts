import { createServer } from "node:net";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import Fastify from "fastify";
import t from "tap";
import { everyRouteSaysForWhom, listenOnFree } from "./serve.ts";

t.test("a route that does not say who may ask it does not start", async (t) => {
  const server = Fastify();
  everyRouteSaysForWhom(server);
  server.get("/open", { config: { for: "anybody" } }, async () => "well");
  t.throws(() => server.get("/forgotten", async () => "everything"), {
    message: "the route /forgotten does not say who may ask it",
  });
  await server.close();
});

t.test("the next free port is taken if others listen on the first, and no more than were allowed are tried", async (t) => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  const host = "127.0.0.1";
  const one = Fastify();
  await t.rejects(listenOnFree(one, { host, port, ports: 1 }), { code: "EADDRINUSE" });
  const many = Fastify();
  t.ok((await listenOnFree(many, { host, port, ports: 20 })) > port);
  await Promise.all([one.close(), many.close()]);
  other.close();
});
