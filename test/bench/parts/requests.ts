/** Counts requests in the cluster's own log, the best witness of what a run costs the API server. */
import { open } from "node:fs/promises";

export interface RequestLog {
  /** Returns the number of requests since the last call, by verb and resource: "create jobs". */
  taken(): Promise<Readonly<Record<string, number>>>;
}

/** The pocket's log: one line of JSON for each request. */
export const openRequestLog = (file: string): RequestLog =>
  counting(file, (line) => verbOf(JSON.parse(line) as { method: string; path: string }));

/**
 * An API server's audit log. Only requests of the users for whom `isOurs` is true count. A watch or a read of a log has a second
 * line, for its beginning: it counts when it has ended.
 */
export function openAuditLog(file: string, isOurs: (user: string) => boolean): RequestLog {
  return counting(file, (line) => {
    const { stage, user, verb, objectRef } = JSON.parse(line) as Audited;
    if (stage === "ResponseStarted" || !isOurs(user?.username ?? "")) return undefined;
    const { resource = "other", subresource } = objectRef ?? {};
    return `${verb} ${subresource ?? resource}`;
  });
}

interface Audited {
  readonly stage: string;
  readonly user?: { readonly username?: string };
  readonly verb: string;
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string };
}

/** Reads on from the last position, because the log of a long bench is long. A half-written line is left for the next call. */
function counting(file: string, nameOf: (line: string) => string | undefined): RequestLog {
  let position = 0;
  return {
    async taken() {
      await using log = await open(file, "r");
      const { size } = await log.stat();
      const bytes = Buffer.alloc(Math.max(0, size - position));
      const { bytesRead } = await log.read(bytes, 0, bytes.length, position);
      const whole = bytes.subarray(0, bytesRead).lastIndexOf("\n") + 1;
      position += whole;
      const lines = bytes.toString("utf8", 0, whole).split("\n").filter(Boolean);
      const counts: Record<string, number> = {};
      for (const name of lines.map(nameOf)) if (name !== undefined) counts[name] = (counts[name] ?? 0) + 1;
      return counts;
    },
  };
}

const WRITES: Readonly<Record<string, string>> = { POST: "create", PATCH: "patch", PUT: "update", DELETE: "delete" };

/** A path that ends with the plural means all objects of a kind; a longer path names one of them. */
function verbOf({ method, path }: { readonly method: string; readonly path: string }): string {
  const [route = "", query = ""] = path.split("?");
  const resource = /\/(jobs|pods|events|namespaces)(\/[^/]+)?(\/log)?$/.exec(route);
  if (resource === null) return `${WRITES[method] ?? "get"} ${route}`;
  const [, kind = "", named, log] = resource;
  if (log !== undefined) return "get log";
  const verb =
    WRITES[method] ??
    (named !== undefined ? "get" : query.includes("watch=true") || query.includes("watch=1") ? "watch" : "list");
  return `${verb} ${kind}`;
}

/** Returns the number of writes, of whatever kind. */
export function writesIn(verbs: Readonly<Record<string, number>>): number {
  const writes = Object.entries(verbs).filter(([verb]) => Object.values(WRITES).some((it) => verb.startsWith(`${it} `)));
  return writes.reduce((sum, [, count]) => sum + count, 0);
}
