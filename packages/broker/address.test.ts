/** The sentence for a broker's URL that asks for TLS on a port that speaks none, over a real connection. */
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import t from "tap";
import { unreachable } from "./address.ts";
import { openBroker } from "./brokers.ts";

t.test("amqps:// at a plain port is told in our words, with what to do", async (t) => {
  // If bytes are no AMQP, RabbitMQ answers with its own header and closes the connection.
  const server = createServer((socket) => socket.on("error", () => undefined).end("AMQP\u0000\u0000\u0009\u0001")).listen(
    0,
    "127.0.0.1",
  );
  t.teardown(() => server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const opening = openBroker({ url: `amqps://u:CANARY@127.0.0.1:${port}/`, log: silentLog, clock: systemClock });
  await t.rejects(opening, {
    code: "BrokerUnreachable",
    message: `RabbitMQ at 127.0.0.1:${port} speaks no TLS on this port. Name its TLS port, or write the URL without TLS (amqp://, nats://).`,
  });
});

t.test("no other trouble of TLS is told in OpenSSL's words", async (t) => {
  const error = Object.assign(new Error("C0A7:error:0A000410:SSL routines:ssl3_read_bytes:"), {
    code: "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE",
  });
  const { message } = unreachable(error, "RabbitMQ at a:1");
  t.match(message, /^RabbitMQ at a:1 does not agree with us on TLS\. .*\?$/);
  t.notMatch(message, /SSL routines/);
});
