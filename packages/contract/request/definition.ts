/**
 * A definition: something that can be run by name, with parameters. Files hold it today.
 *
 * The failure this prevents: an application that has to know images and resources to ask for a piece of work.
 */
import { z } from "zod";
import { DefinitionName } from "../ids.ts";
import { declares, NO_PARAMETERS, parameterProblems, ParametersSchema } from "./parameters.ts";
import { nameProblems } from "../expressions/names.ts";
import { DefinedConcurrency, forms, type RunRequest } from "./request.ts";
import { requestProblems } from "./request-problems.ts";
import { bounded, judge, type Judged, problem } from "../problems/schema-problems.ts";

export const Owner = z.strictObject({
  name: z.string().min(1).max(200).describe("Who can mend it: told when a run of it fails."),
  contact: z.string().min(1).max(300).describe("How to reach them, such as an address or a channel.").optional(),
});
export type Owner = z.infer<typeof Owner>;

const ofDefinitions = {
  name: DefinitionName.refine((name) => !name.includes("/"), {
    error: 'A file\'s definition has no "/" in its name: such names belong to definitions in clusters.',
  }).describe("What a request calls it."),
  title: z.string().max(200).describe("A few words for lists.").optional(),
  description: z.string().max(2000).describe("What it does, for who may run it.").optional(),
  owner: Owner.describe("Who can mend it: told when a run of it fails.").optional(),
  parameters: ParametersSchema.optional(),
  concurrency: DefinedConcurrency.optional(),
};

/**
 * A definition says what runs. When it runs is the request's word, so it has no `notBefore`; and a file is no place for secret
 * values, so each request gives those that the steps name.
 */
const NOT_ITS_WORD = { notBefore: true, secretValues: true } as const;
export const DEFINITION_FORMS = {
  simple: forms.Simple.omit(NOT_ITS_WORD).extend(ofDefinitions),
  pipeline: forms.Pipeline.omit(NOT_ITS_WORD).extend(ofDefinitions),
};
export const Definition = z.union([DEFINITION_FORMS.simple, DEFINITION_FORMS.pipeline]);
export type Definition = z.infer<typeof Definition>;

/** Returns all problems of a definition, each with its place as a JSON pointer. */
export function judgeDefinition(value: unknown): Judged<Definition> {
  const isPipeline = typeof value === "object" && value !== null && "steps" in value;
  const judged = judge(isPipeline ? DEFINITION_FORMS.pipeline : DEFINITION_FORMS.simple, value);
  if (judged.kind === "invalid") return judged;
  const { parameters = NO_PARAMETERS } = judged.value;
  const body = bodyOf(judged.value);
  const structure = [...requestProblems(body), ...parameterProblems(parameters, "/parameters")].map(([path, message]) =>
    problem(path, "Inconsistent", message),
  );
  const declared = {
    names: Object.keys(parameters.properties ?? {}),
    has: (path: readonly string[]) => declares(parameters, path),
  };
  const wrong = structure.length > 0 ? structure : nameProblems(body, declared);
  return wrong.length > 0 ? { kind: "invalid", problems: bounded(wrong) } : judged;
}

/** What a definition runs: the request that it stands for, before parameters are put in. */
export function bodyOf(definition: Definition): RunRequest {
  const { name, title: _title, description: _description, owner: _owner, parameters: _parameters, ...body } = definition;
  const { concurrency } = body;
  return { ...body, ...(concurrency && { concurrency: { ...concurrency, key: concurrency.key ?? name } }) } as RunRequest;
}
