/**
 * Reads a request's path and query.
 *
 * The bug this prevents: two routers that disagree about the meaning of "/api/v1/namespaces/x". There is one router, and it is
 * a function from text to a value.
 */
import type { ApiRequest } from "../api.ts";
import { type ApiObject, KINDS, RESOURCES, type Resource } from "../objects.ts";
import { badRequest, notServed } from "./status.ts";

export interface Asked {
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly part: "log" | "status" | undefined;
  readonly query: URLSearchParams;
}

export function splitPath(request: ApiRequest): { readonly path: string; readonly query: URLSearchParams } {
  const at = request.path.indexOf("?");
  if (at < 0) return { path: request.path, query: new URLSearchParams() };
  return { path: request.path.slice(0, at), query: new URLSearchParams(request.path.slice(at + 1)) };
}

export function readPath(request: ApiRequest): Asked {
  const { path, query } = splitPath(request);
  const words = path.split("/").slice(1).map(decode);
  const group =
    words[0] === "api" && words[1] === "v1" ? "" : words.slice(0, 3).join("/") === "apis/batch/v1" ? "batch" : undefined;
  if (group === undefined) throw notServed();
  const rest = words.slice(group === "" ? 2 : 3);
  if (rest[0] === "namespaces" && group === "" && rest.length <= 2) {
    return { resource: "namespaces", namespace: undefined, name: rest[1], part: undefined, query };
  }
  const namespaced = rest[0] === "namespaces";
  const [word, name, part, ...more] = namespaced ? rest.slice(2) : rest;
  const resource = RESOURCES.find((it) => it === word);
  if (resource === undefined || KINDS[resource].group !== group || !KINDS[resource].namespaced || more.length > 0)
    throw notServed();
  if (part !== undefined && part !== "status" && !(part === "log" && resource === "pods")) throw notServed();
  if (!namespaced && name !== undefined) throw notServed();
  return { resource, namespace: namespaced ? rest[1] : undefined, name, part, query };
}

function decode(word: string): string {
  try {
    return decodeURIComponent(word);
  } catch {
    throw badRequest(`the path holds a broken percent sequence: ${word}`);
  }
}

export type Chosen = (object: ApiObject) => boolean;

export function selection(query: URLSearchParams): Chosen {
  // A comma inside "in (a,b)" does not separate rules.
  const given = (name: string): readonly string[] =>
    (query.get(name) ?? "")
      .split(/,(?![^(]*\))/)
      .map((it) => it.trim())
      .filter((it) => it !== "");
  const rules = [...given("labelSelector").map(labelRule), ...given("fieldSelector").map(fieldRule)];
  return rules.length === 0 ? () => true : (object) => rules.every((rule) => rule(object));
}

function labelRule(text: string): Chosen {
  const set = /^(\S+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(text);
  if (set !== null) {
    const [, key = "", word, list = ""] = set;
    const values = list.split(",").map((it) => it.trim());
    return (it) => {
      const value = it.metadata.labels?.[key];
      return word === "in" ? value !== undefined && values.includes(value) : value === undefined || !values.includes(value);
    };
  }
  const equals = /^([^=!\s]+)\s*(==|=|!=)\s*(\S*)$/.exec(text);
  if (equals !== null) {
    const [, key = "", sign, value = ""] = equals;
    return (it) => (it.metadata.labels?.[key] === value) === (sign !== "!=");
  }
  if (!/^!?[^=!\s()]+$/.test(text)) throw badRequest(`unable to parse requirement: ${text}`);
  return text.startsWith("!")
    ? (it) => it.metadata.labels?.[text.slice(1)] === undefined
    : (it) => it.metadata.labels?.[text] !== undefined;
}

const FIELDS: readonly string[] = [
  ...["metadata.name", "metadata.namespace", "status.phase", "spec.nodeName", "status.successful"],
  ...["involvedObject.kind", "involvedObject.name", "involvedObject.uid", "reason", "type"],
];

function fieldRule(text: string): Chosen {
  const [, key = "", sign, value = ""] = /^([^=!\s]+)(==|=|!=)(.*)$/.exec(text) ?? [];
  if (!FIELDS.includes(key)) throw badRequest(`field label ${JSON.stringify(key === "" ? text : key)} not supported`);
  const path = key === "status.successful" ? ["status", "succeeded"] : key.split(".");
  return (object) => {
    let at: unknown = object;
    for (const word of path) at = typeof at === "object" && at !== null ? Reflect.get(at, word) : undefined;
    const text = typeof at === "string" ? at : at === undefined ? "" : JSON.stringify(at);
    return (text === value) === (sign !== "!=");
  };
}

export type Shape = "whole" | "metadata";

/** Returns the first form in the client's Accept header that we can serve. */
export function wantedShape(accept: string | undefined): Shape {
  for (const wish of (accept ?? "").split(",")) {
    if (/as=PartialObjectMetadata(List)?\s*(;|$)/.test(wish)) return "metadata";
    if (/^\s*(application\/json|\*\/\*)\s*(;\s*q=[\d.]+)?$/.test(wish)) return "whole";
  }
  return "whole";
}

export function wholeNumber(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === "") return undefined;
  if (!/^\d{1,15}$/.test(text)) throw badRequest(`${name} must be a whole number, not ${JSON.stringify(text)}`);
  return Number(text);
}
