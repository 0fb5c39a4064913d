/**
 * Makes a definition from a prepared Job or CronJob: what the card says, what the form asks, and why it cannot be run.
 *
 * The failure this prevents: a template with something that a run would lose, run without a word. All that cannot be kept, and all
 * that is wrong in the annotations, stands on the card, and the card cannot be run until it is mended.
 */
import type { GroupSettings } from "@longshore/contract/group-settings.ts";
import { DefinitionName, type GroupName } from "@longshore/contract/ids.ts";
import type { Prepared } from "@longshore/contract/messages/fact.ts";
import { nearest, judge } from "@longshore/contract/problems/schema-problems.ts";
import { type Definition, Owner } from "@longshore/contract/request/definition.ts";
import { parameterProblems, ParametersSchema } from "@longshore/contract/request/parameters.ts";
import { at, field, integer, list, text } from "../watch/raw.ts";
import { notAllowedInPod } from "./pod-uses.ts";
import { containersOf } from "./pod-security.ts";
import { nameOfPrepared, WORD_CHARS_MAX } from "./see.ts";

export interface PreparedDefinition {
  readonly body: Definition;
  /** Why it cannot be run; empty if it can. */
  readonly problems: readonly string[];
}

const WORDS = ["title", "description", "owner", "while-running", "confirm", "parameters"] as const;
const PROBLEMS_MOST = 20;
const RETRIES_MOST = 20;

/** `undefined`: no definition can have such a name. */
export function definitionOf(
  prepared: Prepared,
  group: { readonly name: GroupName; readonly settings: GroupSettings },
): PreparedDefinition | undefined {
  const name = DefinitionName.safeParse(nameOfPrepared(group.name, prepared));
  if (!name.success) return undefined;
  const problems: string[] = [];
  const tell = (problem: string): void => void problems.push(problem);
  const { words, runs } = prepared;
  const pod = at(runs, "template", "spec");
  if (prepared.unread !== undefined) tell(`It cannot be run: ${prepared.unread}.`);
  else if (runs !== undefined) problems.push(...unkept(runs), ...notAllowedHere(group, pod));
  for (const word of Object.keys(words).filter((it) => !(WORDS as readonly string[]).includes(it))) tell(unknownWord(word));
  const owner = ownerIn(words["owner"], tell);
  const concurrency = concurrencyIn(words["while-running"], tell);
  const schema = withConfirmation(parametersIn(words["parameters"], pod, tell), words["confirm"]);
  const variables = Object.keys(parameterNames(schema, pod));
  const deadline = integer(field(runs, "activeDeadlineSeconds"));
  const body: Definition = {
    name: name.data,
    title: cutText(words["title"], 200) ?? prepared.name,
    ...(words["description"] !== undefined && { description: cutText(words["description"], 2000) ?? "" }),
    ...(owner && { owner }),
    ...(schema && { parameters: schema }),
    ...(concurrency && { concurrency }),
    image: imageOf(pod, tell),
    ...(variables.length > 0 && { env: Object.fromEntries(variables.map((it) => [it, `\${{ parameters.${it} }}`])) }),
    groups: [group.name],
    ...(deadline !== undefined && deadline > 0 && { deadline: `${deadline}s` }),
    retries: {
      max: Math.min(RETRIES_MOST, integer(field(runs, "backoffLimit")) ?? 0),
      on: ["never-started", "infrastructure", "failure"],
    },
  };
  return { body, problems: problems.slice(0, PROBLEMS_MOST) };
}

const cutText = (word: string | undefined, most: number): string | undefined =>
  word === undefined || word.trim() === "" ? undefined : word.slice(0, most).toWellFormed();

function unknownWord(word: string): string {
  const meant = nearest(word, WORDS);
  return `There is no annotation longshore.dev/${word}${meant === undefined ? `; there are ${WORDS.join(", ")}.` : `: did you mean longshore.dev/${meant}?`}`;
}

/** Fields of a Job's spec that a run keeps, or that change nothing of it. */
const KEPT = [
  "template",
  "backoffLimit",
  "activeDeadlineSeconds",
  "parallelism",
  "completions",
  "completionMode",
  "podReplacementPolicy",
];

/** The parts of the Job that a run would lose: its further pods, and the rules by which Kubernetes counts their failures. */
function unkept(runs: Readonly<Record<string, unknown>>): readonly string[] {
  const others = Object.keys(runs).filter((it) => !KEPT.includes(it));
  const many = Math.max(integer(runs["completions"]) ?? 1, integer(runs["parallelism"]) ?? 1);
  return [
    ...others.map((it) => `It has \`${it}\`, which a run cannot keep.`),
    ...(runs["completionMode"] === "Indexed" ? ["It is an Indexed Job, whose pods a run cannot keep apart."] : []),
    ...(runs["completionMode"] !== "Indexed" && many > 1
      ? [`It runs ${many} pods (completions, parallelism), and a run has one.`]
      : []),
  ];
}

function notAllowedHere(
  { name, settings }: { readonly name: GroupName; readonly settings: GroupSettings },
  pod: unknown,
): readonly string[] {
  const refused = notAllowedInPod(settings.policy, pod);
  return refused === undefined ? [] : [`The group ${name} does not allow ${refused}.`];
}

function imageOf(pod: unknown, tell: (problem: string) => void): string {
  const image = text(at(list(field(pod, "containers"))[0], "image"), 512) ?? "none";
  if (!/\s|\$\{\{/.test(image)) return image;
  tell("The name of its image is none.");
  return "none";
}

/** `{"name": …, "contact": …}`, or a text: a name, and after a comma how to reach it. */
function ownerIn(word: string | undefined, tell: (problem: string) => void): Owner | undefined {
  if (word === undefined) return undefined;
  const [name = "", ...contact] = word.split(",").map((it) => it.trim());
  const given = word.trimStart().startsWith("{")
    ? jsonIn(word)
    : { name, ...(contact.length > 0 && { contact: contact.join(", ") }) };
  const owner = Owner.safeParse(given);
  if (owner.success) return owner.data;
  tell(
    'Its annotation longshore.dev/owner is neither a name, as in "Shop team, shop@example.com", nor {"name": …, "contact": …}.',
  );
  return undefined;
}

function concurrencyIn(word: string | undefined, tell: (problem: string) => void): Definition["concurrency"] {
  switch (word ?? "forbid") {
    case "forbid":
      return { limit: 1, then: "refuse" };
    case "queue":
      return { limit: 1, then: "queue" };
    case "allow":
      return undefined;
    default:
      tell(`Its annotation longshore.dev/while-running is "${cutText(word, 40) ?? ""}", and none of forbid, queue, allow.`);
      return undefined;
  }
}

function jsonIn(word: string): unknown {
  try {
    return JSON.parse(word);
  } catch {
    return undefined; // no JSON: whoever asks says so
  }
}

const SCHEMA_DEPTH_MAX = 8;
const AT = "Its annotation longshore.dev/parameters";

/** Returns the schema, or what is wrong with it. */
function schemaIn(word: string): ParametersSchema | string {
  if (word.length > WORD_CHARS_MAX) return `${AT} has more than ${WORD_CHARS_MAX / 1024} KiB.`;
  const given = jsonIn(word);
  if (given === undefined) return `${AT} is no JSON.`;
  if (depthOf(given) > SCHEMA_DEPTH_MAX) return `${AT} is nested more than ${SCHEMA_DEPTH_MAX} deep.`;
  const judged = judge(ParametersSchema, given);
  if (judged.kind === "valid") return judged.value;
  return `${AT}: ${judged.problems.map(({ path, message }) => `${path} ${message}`.trim()).join(" ")}`;
}

/** The schema with the manifest's own values as defaults, or `undefined` if there is none, or a wrong one. */
function parametersIn(word: string | undefined, pod: unknown, tell: (problem: string) => void): ParametersSchema | undefined {
  if (word === undefined) return undefined;
  const schema = schemaIn(word);
  if (typeof schema === "string") {
    tell(schema);
    return undefined;
  }
  const wrong = [
    ...parameterProblems(schema).map(([path, message]) => `${path} ${message}`),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, it]) => variableProblems(name, it, pod)),
  ];
  for (const it of wrong) tell(`${AT}: ${it}`);
  if (wrong.length > 0) return undefined;
  const properties = Object.entries(schema.properties ?? {}).map(
    ([name, it]) => [name, withOwnValue(it, plainValues(pod, name))] as const,
  );
  return { additionalProperties: false, ...schema, properties: Object.fromEntries(properties) };
}

const depthOf = (value: unknown): number =>
  typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;

type Property = NonNullable<ParametersSchema["properties"]>[string];

/** A name that an expression can say, and that no other field of the form has. */
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

function variableProblems(name: string, schema: Property, pod: unknown): readonly string[] {
  const said = (problem: string): readonly string[] => [`"${name}" ${problem}`];
  if (!VARIABLE.test(name)) return said("is no variable's name that a parameter can have: letters, digits and _.");
  if (plainValues(pod, name).length === 0)
    return said("is no variable of the manifest with a plain value, and only such can be replaced.");
  if (!isScalar(schema)) return said("must have a type of string, number, integer or boolean, or an enum.");
  if (schema.pattern !== undefined && !isTame(schema.pattern))
    return said(
      "has a pattern that is not taken from an annotation: name an enum or a format, or a pattern of characters, classes and {n}, from ^ to $.",
    );
  if (!isChosen(schema) && isExpanded(pod, name)) return said(`stands as $(${name}) in a command, so it needs an enum.`);
  return [];
}

const SCALARS = ["string", "number", "integer", "boolean"];
const isScalar = ({ type, enum: words, const: only }: Property): boolean =>
  words !== undefined || only !== undefined || (typeof type === "string" && SCALARS.includes(type));
const isChosen = ({ type, enum: words, const: only }: Property): boolean =>
  words !== undefined || only !== undefined || type === "number" || type === "integer" || type === "boolean";

/** Annotations are anybody's: a pattern that could be matched for minutes is not taken. What is taken repeats at most one piece without bound. */
function isTame(pattern: string): boolean {
  const whole = /^\^(?:(?:\\[dws.\-/]|\[(?:\\.|[^\\\]])+\]|[\w \-:@,/])(?:\{\d{1,3}\}|[?+*])?|\([\w\-|[\] ]+\))*\$$/;
  const choices = pattern.match(/\(/g)?.length ?? 0;
  const loose = pattern.match(/[?+*]/g)?.length ?? 0;
  return pattern.length <= 200 && whole.test(pattern) && choices <= 3 && loose <= 1;
}

/** The plain values that containers of the pod give a variable. */
const plainValues = (pod: unknown, name: string): readonly string[] =>
  containersOf(pod).flatMap((container) =>
    list(field(container, "env"), 1_000).flatMap((it) => {
      const value = field(it, "value") ?? (field(it, "valueFrom") === undefined ? "" : undefined);
      return field(it, "name") === name && typeof value === "string" ? [value] : [];
    }),
  );

/** The parameters that replace a variable; of the others, none has to. */
function parameterNames(schema: ParametersSchema | undefined, pod: unknown): Readonly<Record<string, true>> {
  const names = Object.keys(schema?.properties ?? {}).filter((it) => plainValues(pod, it).length > 0);
  return Object.fromEntries(names.map((it) => [it, true]));
}

/** The kubelet writes the variable's value into a command line, directly or by way of another variable. */
function isExpanded(pod: unknown, name: string): boolean {
  return containersOf(pod).some((container) => {
    const variables = list(field(container, "env"), 1_000).map(
      (it) => [text(field(it, "name")) ?? "", text(field(it, "value"), 100_000) ?? ""] as const,
    );
    const tainted = new Set([name]);
    const holds = (written: unknown): boolean =>
      typeof written === "string" && [...tainted].some((it) => written.includes(`$(${it})`));
    for (let before = 0; before < tainted.size; ) {
      before = tainted.size;
      for (const [variable, value] of variables) if (holds(value)) tainted.add(variable);
    }
    return [...list(field(container, "command"), 1_000), ...list(field(container, "args"), 1_000)].some(holds);
  });
}

/** The manifest's own value, unless Kubernetes would read something else from it: then a run without the parameter keeps it as it is. */
function withOwnValue(schema: Property, [own, ...others]: readonly string[]): Property {
  if (schema.default !== undefined || own === undefined || others.some((it) => it !== own) || /\$[$(]/.test(own)) return schema;
  const type = schema.type;
  const value =
    type === "integer" || type === "number"
      ? own.trim() === ""
        ? own
        : Number(own)
      : type === "boolean"
        ? ({ true: true, false: false }[own] ?? own)
        : own;
  const isTaken = parameterProblems({ ...schema, default: value }).length === 0;
  return isTaken ? { ...schema, default: value } : schema;
}

/** The text that names the effect is a box to tick, which no program sees. */
function withConfirmation(schema: ParametersSchema | undefined, said: string | undefined): ParametersSchema | undefined {
  const title = cutText(said, 300);
  if (title === undefined) return schema;
  const { properties = {}, required = [], ...rest } = schema ?? { type: "object", additionalProperties: false };
  return {
    ...rest,
    required: [...required, "confirm"],
    properties: { ...properties, confirm: { type: "boolean", const: true, title } },
  };
}
