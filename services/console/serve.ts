/**
 * The console's HTTP server: the page's files, and the questions and deeds of the page.
 *
 * The failures this prevents: a page of somebody else that acts in the name of a person who is signed in; a name that was made to
 * point at this machine; and an error of ours that tells a stranger about our inside. Every route says who may ask it: one that
 * says nothing does not start.
 */
import cookie from "@fastify/cookie";
import helmet from "@fastify/helmet";
import swagger from "@fastify/swagger";
import { isTransient } from "@longshore/contract/problems/problem.ts";
import type { AddressInfo } from "node:net";
import Fastify, { type FastifyInstance } from "fastify";
import { hasZodFastifySchemaValidationErrors, serializerCompiler, validatorCompiler } from "fastify-type-provider-zod";
import type { Parts } from "./parts.ts";
import { measureRequests } from "./measure.ts";
import { NOT_OPEN, problemOf, reasonOf, Refused } from "./problem.ts";
import { audit } from "./routes/audit.ts";
import { bulk } from "./routes/bulk.ts";
import { catalogue } from "./routes/catalogue.ts";
import { changes } from "./routes/changes.ts";
import { enter } from "./routes/enter.ts";
import { events } from "./routes/events.ts";
import { groups } from "./routes/groups.ts";
import { log as logs } from "./routes/log.ts";
import { numbers } from "./routes/numbers.ts";
import { DOCUMENT, openapi } from "./routes/openapi.ts";
import { page } from "./routes/page.ts";
import { refused } from "./routes/refused.ts";
import { runs } from "./routes/runs.ts";
import { signIn } from "./routes/sign-in.ts";
import { openLimits } from "./sign-in/limits.ts";
import { askerOf, mayAnywhere } from "./sign-in/person.ts";
import { isOwn, signedIn, signedOut } from "./sign-in/session.ts";

/** No id and no name is longer. */
const ABOUT_MOST = 200;
const BODY_BYTES_MAX = 256 * 1024;
/** A browser that was here once asks over TLS alone for so long. */
const HSTS_SECONDS = 365 * 24 * 3600;

const OUR_FAULT = { status: 500, title: "A fault of ours", message: "The console failed. Its log says why." };
/** The ledger or the broker is away for longer than a moment. */
const AWAY_SECONDS = 5;

export async function openServer(options: Parts): Promise<FastifyInstance> {
  const { log, hosts, metrics, isSecure, proxies } = options;
  const server = Fastify({
    ...{ bodyLimit: BODY_BYTES_MAX, logger: false },
    trustProxy: proxies.length === 0 ? false : [...proxies],
  });
  server.setValidatorCompiler(validatorCompiler);
  server.setSerializerCompiler(serializerCompiler);
  server.decorateRequest("asker", undefined);
  everyRouteSaysForWhom(server);
  measureRequests(server, metrics);
  await server.register(swagger, DOCUMENT);
  await server.register(cookie);
  const limit = await openLimits(server, options);
  await server.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        ...Object.fromEntries(["scriptSrc", "styleSrc", "fontSrc", "imgSrc", "connectSrc"].map((it) => [it, ["'self'"]])),
        ...Object.fromEntries(["baseUri", "formAction", "frameAncestors"].map((it) => [it, ["'none'"]])),
        requireTrustedTypesFor: ["'script'"],
        trustedTypes: ["'none'"],
      },
    },
    strictTransportSecurity: isSecure && { maxAge: HSTS_SECONDS, includeSubDomains: false },
    referrerPolicy: { policy: "no-referrer" },
  });
  server.addHook("onRequest", async (request) => {
    const host = request.headers.host ?? "";
    if (!hosts(host))
      throw new Refused(403, "Not this name", `This console does not answer to the name ${host}.`, [], {
        reason: "foreign name",
      });
    if (!["GET", "HEAD"].includes(request.method) && !isOwn(request.headers, host))
      throw new Refused(403, "Not from here", "Only the console's own page may do this.", [], { reason: "foreign page" });
    const asked = await signedIn(request, options).catch((error: unknown) => {
      if (error instanceof Refused) return error;
      throw error;
    });
    if (!(asked instanceof Refused)) request.asker = asked;
    await limit(request);
    const { for: verb = "anybody" } = request.routeOptions.config;
    if (verb === "anybody") return;
    if (asked instanceof Refused) throw asked;
    if (asked === undefined) throw signedOut(options.ways);
  });
  // After the body was read: the audit says of what.
  server.addHook("preValidation", async (request) => {
    const { body, query, routeOptions } = request;
    const { for: verb = "anybody" } = routeOptions.config;
    if (verb === "anybody" || verb === "signed-in") return;
    const asker = askerOf(request);
    if (mayAnywhere(asker, options, verb)) return;
    const asked = { ...(query as object), ...(typeof body === "object" ? body : {}) } as Readonly<Record<string, unknown>>;
    const about =
      [asked["definition"], asked["run"], asked["group"], asked["id"]].find((it) => typeof it === "string") ??
      routeOptions.url ??
      "";
    await options.pages.audit.deny({ person: asker, deed: verb, about: about.slice(0, ABOUT_MOST) });
    throw new Refused(403, "Not open to you", NOT_OPEN);
  });
  server.setErrorHandler(async (error, _request, reply) => {
    const refused = refusedOf(error);
    if (refused === undefined) log.error("an answer failed", { error });
    else metrics.count("longshore_http_refusals_total", { reason: reasonOf(refused) });
    const told = refused ?? { ...OUR_FAULT, fields: [], more: {} };
    const retryAfterSeconds = refused?.more.retryAfterSeconds ?? (told.status === 503 ? AWAY_SECONDS : undefined);
    if (retryAfterSeconds !== undefined) reply.header("retry-after", String(retryAfterSeconds));
    if (told.status === 401) reply.header("www-authenticate", "Bearer");
    return reply.code(told.status).type("application/problem+json").serializer(JSON.stringify).send(problemOf(told));
  });
  server.setNotFoundHandler({}, async (_request, reply) =>
    reply
      .code(404)
      .type("application/problem+json")
      .serializer(JSON.stringify)
      .send(problemOf(new Refused(404, "Not here", "There is nothing at this address."))),
  );
  for (const routes of [
    enter,
    signIn,
    catalogue,
    runs,
    bulk,
    changes,
    events,
    groups,
    logs,
    refused,
    audit,
    numbers,
    openapi,
    page,
  ])
    routes(server, options);
  return server;
}

function refusedOf(error: unknown): Refused | undefined {
  if (error instanceof Refused) return error;
  if (hasZodFastifySchemaValidationErrors(error))
    return new Refused(422, "Not understood", error.validation.map(({ instancePath, message }) => `${instancePath} ${message}`).join("; "), error.validation.map(({ instancePath, message }) => ({ path: instancePath, message: message ?? "" }))); // biome-ignore format: one answer
  if (isTransient(error))
    return new Refused(503, "Not just now", "The ledger or the broker cannot be reached. Try again in a moment.");
  const status = typeof error === "object" && error !== null && "statusCode" in error ? Number(error.statusCode) : 500;
  if (status >= 400 && status < 500)
    return new Refused(400, "Not understood", error instanceof Error ? error.message : String(error));
  return undefined;
}

/** A route that is written without a thought of who may ask it would be open to everybody. */
export function everyRouteSaysForWhom(server: FastifyInstance): void {
  server.addHook("onRoute", ({ config, url }) => {
    if (config?.for === undefined) throw new TypeError(`the route ${url} does not say who may ask it`);
  });
}

/** Listens on the first port that nobody else has, and returns it. */
export async function listenOnFree(
  server: FastifyInstance,
  { host, port, ports }: { readonly host: string; readonly port: number; readonly ports: number },
): Promise<number> {
  for (let tried = 0; ; tried++) {
    try {
      await server.listen({ host, port: port + tried });
      return (server.server.address() as AddressInfo).port;
    } catch (error) {
      if (tried + 1 < ports && error instanceof Error && "code" in error && error.code === "EADDRINUSE") continue;
      throw error;
    }
  }
}
