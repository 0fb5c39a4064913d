/**
 * One request in, one answer or one stream out: the API server without its network.
 *
 * The bug this prevents: a thin stub that answers what the code under test expects. Every answer here comes from the
 * objects as they stand, and every refusal is the `Status` that a real server sends.
 */
import type { ApiAnswer, ApiRequest, ApiStream, User, PodRun } from "../api.ts";
import type { Parts } from "../controllers/parts.ts";
import { serveDiscovery } from "./discovery.ts";
import { createLines, type Lines } from "./lines.ts";
import { type ApiObject, KINDS, type PodObject } from "../objects.ts";
import { type Asked, readPath, splitPath, wantedShape, wholeNumber } from "./query.ts";
import { readList, readObject, shaped } from "./read.ts";
import { badRequest, forbidden, notAllowed, Refusal } from "./status.ts";
import { openWatch } from "./watch.ts";
import { createObject, patchObject, removeMany, removeObject } from "./write.ts";

export interface ServerParts extends Parts {
  readonly runOf: (podUid: string) => PodRun | undefined;
  /** Returns a new key for each watch. */
  readonly watchKey: () => string;
}

export interface Streaming extends ApiStream {
  readonly lines: Lines;
}

const LOG_LINES_MOST = 100_000;

/** Answers everything but watches and followed logs. */
export async function answer(parts: ServerParts, identity: User, request: ApiRequest): Promise<ApiAnswer> {
  try {
    const other = serveDiscovery(parts.clock, identity, request);
    if (other !== undefined) return other;
    const asked = readPath(request);
    authorize(identity, request, asked);
    if (asked.part === "log") {
      if (isUnplaced(parts, asked)) return { status: 204, headers: {}, body: "" };
      return { status: 200, headers: {}, body: readLog(parts, asked) };
    }
    return decide(parts, request, asked);
  } catch (refusal) {
    if (refusal instanceof Refusal) return refusal.answer;
    throw refusal;
  }
}

/** Answers a write or a read in one turn, so that no other request comes between the check and the change. */
function decide(parts: ServerParts, request: ApiRequest, asked: Asked): ApiAnswer {
  const shape = wantedShape(request.accept);
  const written = (status: number, object: ApiObject, warnings: readonly string[] = []): ApiAnswer => ({
    status,
    headers: warnings.length === 0 ? {} : { warning: warnings.map((it) => `299 - ${JSON.stringify(it)}`).join(", ") },
    body: shaped(object, shape),
  });
  switch (request.method) {
    case "GET":
      if (asked.name !== undefined) return written(200, readObject(parts.store, asked));
      return { status: 200, headers: {}, body: readList(parts.store, asked, shape) };
    case "POST": {
      if (asked.name !== undefined || (asked.namespace === undefined && asked.resource !== "namespaces")) throw notAllowed();
      const { status, object, warnings } = createObject(parts, asked, request.body);
      return written(status, object, warnings);
    }
    case "PATCH": {
      if (asked.name === undefined) throw notAllowed();
      const { status, object } = patchObject(parts, asked, request.body, request.contentType);
      return written(status, object);
    }
    case "DELETE": {
      if (asked.name === undefined) return { status: 200, headers: {}, body: deleteMany(parts, request, asked) };
      const { object, gone, warnings } = removeObject(parts, asked, request.body);
      if (!gone || asked.resource === "pods") return written(200, object, warnings);
      const { name, uid } = object.metadata;
      const done = {
        kind: "Status",
        apiVersion: "v1",
        metadata: {},
        status: "Success",
        details: { name, kind: asked.resource, uid },
      };
      return { ...written(200, object, warnings), body: done };
    }
  }
}

function deleteMany(parts: ServerParts, request: ApiRequest, asked: Asked): object {
  if (asked.resource === "namespaces" || asked.namespace === undefined) throw notAllowed();
  const items = removeMany(parts, asked, request.body);
  return { kind: "List", apiVersion: "v1", metadata: { resourceVersion: String(parts.store.version()) }, items };
}

/** Under a Role bound in some namespaces, everything is allowed there and nothing elsewhere. */
function authorize(identity: User, request: ApiRequest, asked: Asked): void {
  const { namespaces } = identity;
  const where = asked.resource === "namespaces" ? asked.name : asked.namespace;
  const allowed = asked.resource === "namespaces" ? request.method === "GET" && where !== undefined : true;
  if (namespaces === undefined || (where !== undefined && namespaces.includes(where) && allowed)) return;
  const verbs = { GET: asked.name === undefined ? "list" : "get", POST: "create", PATCH: "patch", DELETE: "delete" } as const;
  const scope = where === undefined ? "at the cluster scope" : `in the namespace ${JSON.stringify(where)}`;
  const { group } = KINDS[asked.resource];
  throw forbidden(
    asked.resource,
    asked.name ?? "",
    `User ${JSON.stringify(identity.user)} cannot ${verbs[request.method]} resource "${asked.resource}" in API group "${group}" ${scope}`,
  );
}

/** True for requests that `stream` must answer. */
export function isStream(request: ApiRequest): boolean {
  const { path, query } = splitPath(request);
  if (request.method !== "GET") return false;
  return isTrue(query.get("watch")) || (path.endsWith("/log") && isTrue(query.get("follow")));
}

const isTrue = (text: string | null): boolean => text === "true" || text === "1";

export function stream(parts: ServerParts, identity: User, request: ApiRequest, closed: () => void): Streaming {
  try {
    const asked = readPath(request);
    authorize(identity, request, asked);
    if (asked.part === "log") {
      if (isUnplaced(parts, asked)) return { status: 204, body: "", lines: ended(closed) };
      return { status: 200, body: undefined, lines: followLog(parts, asked, closed) };
    }
    const lines = openWatch({ ...parts, key: parts.watchKey() }, asked, wantedShape(request.accept), closed);
    return { status: 200, body: undefined, lines };
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    return { status: refusal.answer.status, body: refusal.answer.body, lines: ended(closed) };
  }
}

function ended(closed: () => void): Lines {
  const lines = createLines(1, closed);
  lines.end();
  return lines;
}

/** The pod has no node to ask for its log, so the server answers with nothing. */
function isUnplaced({ store }: ServerParts, asked: Asked): boolean {
  return (readObject(store, asked) as PodObject).spec.nodeName === undefined;
}

function findRun({ store, runOf }: ServerParts, asked: Asked) {
  const pod = readObject(store, asked) as PodObject;
  const container = asked.query.get("container") ?? pod.spec.containers[0]?.name ?? "";
  return { run: runOf(pod.metadata.uid), container };
}

const notStarted = ({ name }: Asked, container: string): Refusal =>
  badRequest(`container ${JSON.stringify(container)} in pod ${JSON.stringify(name)} is waiting to start: ContainerCreating`);

function readLog(parts: ServerParts, asked: Asked): string {
  const { run, container } = findRun(parts, asked);
  const whole = run?.log(container);
  if (whole === undefined) throw notStarted(asked, container);
  const lines = wholeNumber(asked.query, "tailLines");
  const bytes = wholeNumber(asked.query, "limitBytes");
  const tail = lines === undefined ? whole : lastLines(whole, lines);
  // As on a real server, the limit of bytes keeps the start of the tail, not its end.
  return bytes === undefined ? tail : Buffer.from(tail).subarray(0, bytes).toString();
}

function lastLines(text: string, most: number): string {
  if (most === 0) return "";
  const lines = text.split("\n");
  const ended = lines.at(-1) === "";
  return lines.slice(-(ended ? most + 1 : most)).join("\n");
}

const linesIn = (text: string): number => text.split("\n").length - 1;

function followLog(parts: ServerParts, asked: Asked, closed: () => void): Lines {
  const { run, container } = findRun(parts, asked);
  const most = wholeNumber(asked.query, "tailLines");
  let left = most === undefined ? 0 : Math.max(0, linesIn(run?.log(container) ?? "") - most);
  let stop: (() => void) | undefined;
  const lines = createLines(LOG_LINES_MOST, () => {
    stop?.();
    closed();
  });
  stop = run?.followLog(container, (line) => {
    if (line === undefined) lines.end();
    else if (left > 0) left--;
    else lines.push(line);
  });
  if (stop === undefined) throw notStarted(asked, container);
  return lines;
}
