import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { TLSSocket } from "node:tls";
import t from "tap";
import type { Trust } from "../access/connection.ts";
import { openTransport } from "./exchange.ts";
import { isUntrusted, networkCode } from "./silence.ts";
import { authority, clientCertificate, clientKey, serverCertificate, serverKey } from "../testing/certificates.ts";
import { answering, connectionTo, failure, jobs, json, list, listening, never } from "../testing/loopback.ts";

t.test("over TLS", async (t) => {
  const tls = { cert: serverCertificate, key: serverKey, ca: authority, requestCert: true, rejectUnauthorized: false };
  const server = createTlsServer(
    tls,
    answering((request, response) => {
      const peer = request.socket instanceof TLSSocket ? request.socket.getPeerCertificate() : undefined;
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
  await t.test("accepts any certificate only if the config says so", async (t) => {
    t.equal((await to({ verify: false }).send(list, never)).status, 200);
  });
  await t.test("a CA that changes is tried by the next request, though a connection is open", async (t) => {
    let ca = authority;
    const connection = connectionTo(`https://127.0.0.1:${port}`, {});
    const trust = async (): Promise<Trust> => ({ ...(await connection.trust()), ca });
    const transport = openTransport({ ...connection, trust });
    t.teardown(() => transport[Symbol.asyncDispose]());
    t.equal((await transport.send(list, never)).status, 200);
    ca = clientCertificate;
    const failed = await failure(transport.send(list, never));
    t.match(failed.message, /authority we do not know/);
    ca = authority;
    t.equal((await transport.send(list, never)).status, 200);
  });
  await t.test("a stream ends after its next line when the CA changes, and another one is refused", async (t) => {
    let ca = authority;
    const streaming = createTlsServer(
      tls,
      answering((_request, response) => {
        response.writeHead(200, json).write("first\n");
        const more = setInterval(() => response.write("more\n"), 5);
        response.on("close", () => clearInterval(more));
      }),
    );
    const connection = connectionTo(`https://127.0.0.1:${await listening(t, streaming)}`, {});
    const trust = async (): Promise<Trust> => ({ ...(await connection.trust()), ca });
    const transport = openTransport({ ...connection, trust });
    t.teardown(() => transport[Symbol.asyncDispose]());
    const { lines } = await transport.open(list, never);
    for await (const line of lines) {
      t.ok(line);
      ca = clientCertificate;
    }
    t.match((await failure(transport.open(list, never))).message, /authority we do not know/);
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
