/**
 * The requests that read: one object, or a list in pages.
 *
 * The bug this prevents: a list whose pages show different moments. As on a real server, all pages show the version of the
 * first page. When that version is compacted, the token has expired, and the client must begin again.
 */
import { type ApiObject, apiVersionOf, KINDS, type Resource } from "../objects.ts";
import { type Asked, selection, type Shape, wholeNumber } from "./query.ts";
import { badRequest, expired, notFound, type Refusal, refusal } from "./status.ts";
import { keyOf, type Store } from "./store.ts";

export function shaped(object: ApiObject, shape: Shape): object {
  if (shape === "whole") return object;
  return { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata };
}

export function readObject(store: Store, asked: Asked): ApiObject {
  const { resource, namespace = "", name = "" } = asked;
  const object = store.get(resource, namespace, name);
  if (object === undefined) throw notFound(resource, name);
  return object;
}

export function readList(store: Store, asked: Asked, shape: Shape): object {
  const { resource, namespace, query } = asked;
  const chosen = selection(query);
  const token = query.get("continue") ?? "";
  const wanted = query.get("resourceVersion") ?? "";
  // A list from the cache ignores its limit, as real servers do.
  const limit = token === "" && wanted === "0" ? 0 : (wholeNumber(query, "limit") ?? 0);
  const from = token === "" ? undefined : readToken(token);
  const version = from?.version ?? store.version();
  if (token === "" && Number(wanted) > store.version()) throw tooLarge(Number(wanted), store.version());
  const all = listing(store, resource, namespace, version, from?.after).filter(chosen);
  const page = limit > 0 ? all.slice(0, limit) : all;
  const last = page.at(-1);
  const more = all.length - page.length;
  const metadata = {
    resourceVersion: String(version),
    ...(more > 0 && last !== undefined
      ? {
          continue: writeToken(version, keyOf(last)),
          ...(query.has("labelSelector") || query.has("fieldSelector") ? {} : { remainingItemCount: more }),
        }
      : {}),
  };
  return shape === "whole"
    ? { kind: `${KINDS[resource].kind}List`, apiVersion: apiVersionOf(resource), metadata, items: page }
    : {
        kind: "PartialObjectMetadataList",
        apiVersion: "meta.k8s.io/v1",
        metadata,
        items: page.map((it) => shaped(it, shape)),
      };
}

/** On a real server objects in a list carry no kind of their own. Ours keep theirs, which is allowed and harmless. */
function listing(
  store: Store,
  resource: Resource,
  namespace: string | undefined,
  version: number,
  after: string | undefined,
): readonly ApiObject[] {
  const then = version === store.version() ? store.list(resource, namespace) : store.listAt(version, resource, namespace);
  if (then === undefined) {
    const metadata = after === undefined ? {} : { continue: writeToken(-1, after) };
    throw expired(
      "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
      metadata,
    );
  }
  if (after === undefined) return then;
  const at = then.findIndex((it) => keyOf(it) > after);
  return at < 0 ? [] : then.slice(at);
}

function writeToken(version: number, after: string): string {
  return Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv: version, start: after })).toString("base64url");
}

function readToken(token: string): { readonly version: number | undefined; readonly after: string } {
  let read: unknown;
  try {
    read = JSON.parse(Buffer.from(token, "base64url").toString());
  } catch {
    throw badRequest("continue key is not valid: it is not a token of this server");
  }
  const { rv, start } = (typeof read === "object" && read !== null ? read : {}) as { rv?: unknown; start?: unknown };
  if (typeof rv !== "number" || typeof start !== "string") throw badRequest("continue key is not valid: it lacks rv or start");
  return { version: rv === -1 ? undefined : rv, after: start };
}

/**
 * The client asks for a version that this server has not reached: the server was restored from a backup, or another server
 * answered before.
 */
function tooLarge(wanted: number, current: number): Refusal {
  const causes = [{ reason: "ResourceVersionTooLarge", message: "Too large resource version", field: "" }];
  const message = `Timeout: Too large resource version: ${wanted}, current: ${current}`;
  return refusal(504, "Timeout", message, { causes, retryAfterSeconds: 1 }, { "retry-after": "1" });
}
