/** What the cluster was asked, from its own request log: the best witness of what a run costs the API server. */
import { readFile } from "node:fs/promises";

export interface RequestLog {
  /** Requests since the last time this was asked, by their verb as Kubernetes names it. */
  taken(): Promise<Readonly<Record<string, number>>>;
}

interface Entry {
  readonly method: string;
  readonly path: string;
}

export function openRequestLog(file: string): RequestLog {
  let read = 0;
  return {
    async taken() {
      const lines = (await readFile(file, "utf8")).split("\n").filter((line) => line.endsWith("}"));
      const fresh = lines.slice(read).map((line) => JSON.parse(line) as Entry);
      read = lines.length;
      const verbs = Map.groupBy(fresh, verbOf);
      return Object.fromEntries([...verbs].map(([verb, entries]) => [verb, entries.length]));
    },
  };
}

const WRITES: Readonly<Record<string, string>> = { POST: "create", PATCH: "patch", PUT: "update", DELETE: "delete" };

/** A path that ends with the plural is of all objects of a kind; one that goes on names one of them. */
function verbOf({ method, path }: Entry): string {
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

/** POSTs, PATCHes and DELETEs of whatever kind. */
export function writesIn(verbs: Readonly<Record<string, number>>): number {
  const writes = Object.entries(verbs).filter(([verb]) => Object.values(WRITES).some((it) => verb.startsWith(`${it} `)));
  return writes.reduce((sum, [, count]) => sum + count, 0);
}
