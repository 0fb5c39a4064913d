/** Counts requests and open streams. Routes, and no addresses: an address may hold a run's id. */
import type { Metrics } from "@longshore/runtime/metrics.ts";
import type { FastifyInstance } from "fastify";

export function measureRequests(server: FastifyInstance, metrics: Metrics): void {
  let streams = 0;
  metrics.set("longshore_http_streams", {}, streams);
  // Not onRequest: a stream that is refused has begun none.
  server.addHook("preHandler", async ({ routeOptions }, reply) => {
    if (routeOptions.config.isStream !== true) return;
    metrics.set("longshore_http_streams", {}, ++streams);
    reply.raw.once("close", () => metrics.set("longshore_http_streams", {}, --streams));
  });
  server.addHook("onResponse", async ({ routeOptions }, { statusCode }) =>
    metrics.count("longshore_http_requests_total", { route: routeOptions.url ?? "none", status: String(statusCode) }),
  );
}
