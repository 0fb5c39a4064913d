/**
 * The tags of a run, by which a search finds it: the person who asked for it, its labels, and its short parameters.
 *
 * The failure this prevents: a secret that stands in a table which pages search. Secret values are sealed before a request comes
 * here, and `writeOnly` parameters travel among them.
 */
import { Actor } from "@longshore/contract/messages/command.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import { idOf } from "@longshore/domain/access/access.ts";
import type { Change } from "@longshore/domain/run/change.ts";

/** Longer values are not searched for, and would only make the index large. */
const VALUE_MOST = 100;
const TAGS_MOST = 30;

export interface Tag {
  readonly name: string;
  readonly value: string;
}

export const ACTOR = "actor";

/** The tags of a run that is made now. */
export function tagsOf({ told }: Change, request: RunRequest): readonly Tag[] {
  const accepted = told.find((it) => it.told.type === "run.accepted")?.told.data as { readonly actor?: unknown } | undefined;
  const actor = Actor.safeParse(accepted?.actor).data;
  const { labels = {}, parameters = {} } = request;
  const named = (kind: string, of: Readonly<Record<string, unknown>>) =>
    Object.entries(of).map(([name, value]) => ({ name: `${kind}:${name}`, value: textOf(value) }));
  return [
    ...(actor ? [{ name: ACTOR, value: idOf(actor) }] : []),
    ...[...named("label", labels), ...named("parameter", parameters)]
      .flatMap(({ name, value }) => (value === undefined ? [] : [{ name, value }]))
      .filter(({ name, value }) => value !== "" && value.length <= VALUE_MOST && name.length <= VALUE_MOST)
      .slice(0, TAGS_MOST),
  ];
}

const textOf = (value: unknown): string | undefined =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? String(value) : undefined;
