/** The page itself, at each of its addresses, and its files. Only the page is asked for anew. */
import type { FastifyInstance } from "fastify";
import type { Parts } from "../parts.ts";
import { Refused } from "../problem.ts";

/** Every page has an address that can be sent to somebody else. Ids stand in the query: a run's id may hold `..` and `//`. */
export const PAGES = [
  "/",
  "/start",
  "/runs",
  "/run",
  "/groups",
  "/health",
  "/numbers",
  "/refused",
  "/audit",
  "/enter",
  "/signed-out",
];
/** The page is for browsers, and no part of what programs are told. */
const HIDDEN = { config: { for: "anybody" }, schema: { hide: true } } as const;
const FOR_EVER = "public, max-age=31536000, immutable";

export function page(server: FastifyInstance, { files }: Pick<Parts, "files">): void {
  for (const url of PAGES)
    server.get(url, HIDDEN, async (_request, reply) =>
      reply.type("text/html; charset=utf-8").header("cache-control", "no-store").send(files.html),
    );
  server.get<{ Params: { name: string } }>("/assets/:name", HIDDEN, async (request, reply) => {
    const file = files.assets.get(request.params.name);
    if (file === undefined) throw new Refused(404, "Not here", "There is no such file.");
    return reply.type(file.type).header("cache-control", FOR_EVER).send(file.body);
  });
}
