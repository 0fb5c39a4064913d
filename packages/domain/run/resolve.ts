/**
 * Makes the request that a run of a definition stands for: the definition's body, with the parameters judged and its defaults
 * filled in.
 *
 * The failure this prevents: a request that widens what the definition's owner allowed, such as another group, or a label by
 * which others find the definition's Jobs.
 */
import type { Invocation } from "@longshore/contract/messages/command.ts";
import { bodyOf, type Definition } from "@longshore/contract/request/definition.ts";
import { judgeParameters, NO_PARAMETERS } from "@longshore/contract/request/parameters.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import { expressionProblems } from "@longshore/contract/expressions/rendering.ts";
import { secretValueProblems } from "@longshore/contract/request/request-problems.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import { bounded, pointer } from "@longshore/contract/problems/schema-problems.ts";
import type { Plan, PreparedOf } from "./record.ts";

export type Resolved =
  | { readonly kind: "resolved"; readonly request: RunRequest }
  | { readonly kind: "refused"; readonly problems: readonly CommandProblem[] };

export function resolve(definition: Definition, invocation: Invocation, run: string): Resolved {
  const { definition: name, parameters: given = {}, groups, labels, annotations, ...asked } = invocation;
  const body = bodyOf(definition);
  const judged = judgeParameters(definition.parameters ?? NO_PARAMETERS, given, "/data/parameters");
  const problems = [
    ...(judged.kind === "invalid" ? judged.problems : []),
    ...groupProblems(name, body.groups, groups),
    ...changed(name, "labels", body.labels, labels),
    ...changed(name, "annotations", body.annotations, annotations),
  ];
  if (problems.length > 0 || judged.kind === "invalid") return { kind: "refused", problems: bounded(problems) };
  const request: RunRequest = {
    ...body,
    ...asked,
    ...(definition.parameters && { parameters: { ...leftOut(definition), ...judged.value } }),
    ...(groups && { groups }),
    ...(labels && { labels: { ...body.labels, ...labels } }),
    ...(annotations && { annotations: { ...body.annotations, ...annotations } }),
  };
  const wrong = [
    ...expressionProblems(request, run).map(({ path, message }) =>
      problem("/data/parameters", `The definition "${name}" cannot take these values, at ${path}: ${message}`),
    ),
    ...secretValueProblems(request).map(([path, message]) =>
      problem("/data/secretValues", `The definition "${name}" needs other secret values, at ${path}: ${message}`),
    ),
  ];
  return wrong.length > 0 ? { kind: "refused", problems: bounded(wrong) } : { kind: "resolved", request };
}

/** A job that is prepared in a cluster has a value of its own for each parameter that a request leaves out. */
const leftOut = ({ name, parameters: { properties = {} } = NO_PARAMETERS }: Definition): Readonly<Record<string, null>> =>
  name.includes("/") ? Object.fromEntries(Object.keys(properties).map((parameter) => [parameter, null])) : {};

/** What a run of the definition keeps of it. Of the schemas, only those of parameters that a restart may correct. */
export function keptOf(
  {
    body,
    digest,
    prepared,
  }: { readonly body: Definition; readonly digest: string; readonly prepared?: Omit<PreparedOf, "digest"> },
  used: Plan["parameters"] = [],
): NonNullable<Plan["definition"]> {
  const { name, owner, parameters: { properties = {} } = NO_PARAMETERS } = body;
  const schemas = Object.entries(properties).filter(([parameter]) => used.includes(parameter));
  return {
    name,
    digest,
    ...(owner && { owner }),
    ...(schemas.length > 0 && { parameters: Object.fromEntries(schemas) }),
    ...(prepared && { prepared: { kind: prepared.kind, name: prepared.name, uid: prepared.uid, digest } }),
  };
}

/** Judges the parameters of a restart by the definition as it was when the run was made, and fills in the defaults within them. */
export function judgeCorrected({ definition }: Plan, given: Invocation["parameters"] = {}): ReturnType<typeof judgeParameters> {
  const schemas = Object.entries(definition?.parameters ?? {}).filter(([name]) => Object.hasOwn(given, name));
  return judgeParameters({ type: "object", properties: Object.fromEntries(schemas) }, given, "/data/with/parameters");
}

const problem = (path: string, message: string): CommandProblem => ({ path, code: "Inconsistent", message });

function groupProblems(name: string, allowed: RunRequest["groups"], asked: RunRequest["groups"] = []): readonly CommandProblem[] {
  if (allowed === undefined) return [];
  return asked.flatMap((group, at) =>
    allowed.includes(group)
      ? []
      : problem(
          `/data/groups/${at}`,
          `The definition "${name}" runs in ${allowed.join(", ")}; a request may choose among these.`,
        ),
  );
}

function changed(
  name: string,
  field: "labels" | "annotations",
  own: Readonly<Record<string, string>> = {},
  asked: Readonly<Record<string, string>> = {},
): readonly CommandProblem[] {
  return Object.entries(asked).flatMap(([key, value]) =>
    !Object.hasOwn(own, key) || own[key] === value
      ? []
      : problem(`/data/${field}${pointer([key])}`, `The definition "${name}" says this itself; a request may add others.`),
  );
}
