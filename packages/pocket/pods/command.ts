/**
 * Turns a container's spec into a process: its environment, its command with arguments, and the path of its termination log.
 *
 * The bug this prevents: a command that works here because a shell changed it. Only `$(NAME)` is replaced, as Kubernetes does
 * it, from the container's own variables.
 */
import type { Look } from "../api.ts";
import { type Container, type EnvVar, isFields, type PodObject } from "../objects.ts";

/** The container cannot be made: the kubelet waits with this reason and tries again. */
export interface Unmade {
  readonly reason: "CreateContainerConfigError";
  readonly message: string;
}

export interface Environment {
  readonly values: Readonly<Record<string, string>>;
}

export function environmentOf(pod: PodObject, container: Container, look: Look): Environment | Unmade {
  const values: Record<string, string> = {};
  for (const variable of container.env ?? []) {
    const value = valueOf(pod, variable, values, look);
    if (typeof value === "object") return value;
    if (value !== undefined) values[variable.name] = value;
  }
  return { values };
}

function valueOf(
  pod: PodObject,
  variable: EnvVar,
  before: Readonly<Record<string, string>>,
  look: Look,
): string | undefined | Unmade {
  const from = variable.valueFrom;
  if (from?.fieldRef !== undefined) return fieldOf(pod, from.fieldRef.fieldPath);
  if (from?.secretKeyRef !== undefined) return keyOf(pod, "secrets", from.secretKeyRef, look);
  if (from?.configMapKeyRef !== undefined) return keyOf(pod, "configmaps", from.configMapKeyRef, look);
  return expand(variable.value ?? "", before);
}

export function fieldOf(pod: PodObject, path: string): string {
  const marked = /^metadata\.(labels|annotations)\['([^']*)'\]$/.exec(path);
  if (marked !== null) {
    const [, kind = "labels", key = ""] = marked;
    return (kind === "labels" ? pod.metadata.labels : pod.metadata.annotations)?.[key] ?? "";
  }
  switch (path) {
    case "metadata.name":
      return pod.metadata.name;
    case "metadata.namespace":
      return pod.metadata.namespace ?? "";
    case "metadata.uid":
      return pod.metadata.uid;
    case "spec.nodeName":
      return "pocket";
    case "status.podIP":
    case "status.hostIP":
      return "127.0.0.1";
    default:
      return "";
  }
}

interface KeyRef {
  readonly name: string;
  readonly key: string;
  readonly optional?: boolean;
}

export type Source = "secrets" | "configmaps";

/** Returns the texts of a Secret or a ConfigMap by their keys; `undefined` if there is no such object. */
export function textsOf(resource: Source, name: string, look: Look): Readonly<Record<string, string>> | undefined {
  const object = look(resource, name);
  if (object === undefined) return undefined;
  const part = (which: string): readonly (readonly [string, string])[] => {
    const data: unknown = Reflect.get(object, which);
    return isFields(data) ? Object.entries(data).filter((it): it is [string, string] => typeof it[1] === "string") : [];
  };
  if (resource === "configmaps") return Object.fromEntries(part("data"));
  const decoded = part("data").map(([key, coded]) => [key, Buffer.from(coded, "base64").toString()] as const);
  return Object.fromEntries([...decoded, ...part("stringData")]);
}

export const missing = (resource: Source, name: string): string =>
  `${resource === "secrets" ? "secret" : "configmap"} ${JSON.stringify(name)} not found`;

function keyOf(pod: PodObject, resource: Source, ref: KeyRef, look: Look): string | undefined | Unmade {
  const kind = resource === "secrets" ? "secret" : "configmap";
  const texts = textsOf(resource, ref.name, look);
  const unmade = (message: string): Unmade | undefined =>
    ref.optional === true ? undefined : { reason: "CreateContainerConfigError", message };
  if (texts === undefined) return unmade(missing(resource, ref.name));
  const value = Object.hasOwn(texts, ref.key) ? texts[ref.key] : undefined;
  const where = `${kind === "secret" ? "Secret" : "ConfigMap"} ${pod.metadata.namespace ?? ""}/${ref.name}`;
  return value ?? unmade(`couldn't find key ${ref.key} in ${where}`);
}

/** Replaces `$(NAME)` by its value and `$$(NAME)` by `$(NAME)`; an unknown name stays as it is. */
export function expand(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\$(\$|\(([^)]*)\))/g, (whole, what: string, name: string | undefined) => {
    if (what === "$") return "$";
    return name !== undefined && Object.hasOwn(values, name) ? (values[name] ?? "") : whole;
  });
}

export function wordsOf(
  container: Container,
  values: Readonly<Record<string, string>>,
  terminationLog: string,
): readonly string[] {
  const meant = container.terminationMessagePath ?? "/dev/termination-log";
  const words = [...(container.command ?? []), ...(container.args ?? [])];
  return words.map((it) => expand(it, values).replaceAll(meant, terminationLog));
}
