/**
 * Deeds on many runs at once: first a count, then the deed on just those.
 *
 * The failures this prevents: a deed on runs that nobody counted, and one that is done twice because its answer was lost. The count
 * names the newest run that is meant; each command's id follows from the count and its run, so that a repeat changes nothing.
 */
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import type { Verb } from "@longshore/contract/access-rule.ts";
import type { CommandInput } from "@longshore/contract/messages/command.ts";
import type { MatchingRun } from "@longshore/ledger/pages.ts";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Counted, Progress, refusals } from "../answers.ts";
import { spelt } from "../new-run.ts";
import type { Parts } from "../parts.ts";
import { Refused } from "../problem.ts";
import { publish } from "../publish.ts";
import { askerOf, reachWith } from "../sign-in/person.ts";
import { foundBy, placedIn, Word } from "./runs.ts";

const RUNS_MOST = 10_000;
const TOGETHER = 20;
const BULK = 16;

const Filter = z.strictObject({
  find: Word.optional(),
  definition: Word.optional(),
  code: Word.optional(),
  group: Word.optional(),
  outcome: z.enum(["active", "failed", "lost", "cancelled"]).optional(),
  mine: z.boolean().default(false),
});
const Asked = z.strictObject({
  deed: z.enum(["cancel", "restart"]),
  filter: Filter.describe("As for a list of runs. `cancel` is for those that have not ended; `restart`, without an outcome, for those that failed."),
  counted: z
    .strictObject({ bulk: z.string().regex(/^[0-9a-z]{16}$/), upTo: z.string().regex(/^\d{1,18}$/) })
    .describe("`bulk` and `upTo` of the count that is meant. Without it, the runs are counted, and nothing is done.")
    .optional(),
}); // biome-ignore format: a table
type Asked = z.output<typeof Asked>;

/** What each deed is about, and the verb that a person needs for one run. */
const DEEDS = {
  cancel: { state: "active", outcomes: ["active"], verb: "stop", deed: "stop" },
  restart: { state: "ended", outcomes: ["failed", "lost", "cancelled"], verb: "run", deed: "restart" },
} as const satisfies Record<Asked["deed"], { readonly verb: Verb; readonly [name: string]: unknown }>;

export function bulk(plain: FastifyInstance, options: Parts): void {
  plain.withTypeProvider<ZodTypeProvider>().post(
    "/v1/bulk",
    {
      config: { for: "operate" },
      schema: {
        summary: "Stop many runs, or start many again: count them first, then do it.",
        description: "Only runs that the asker could stop or start again one by one, and for which a rule lets them operate.",
        body: Asked,
        response: {
          200: {
            description: "The count; or with `counted`, how far it is, a line each time.",
            content: { "application/json": { schema: Counted }, "application/x-ndjson": { schema: Progress } },
          },
          ...refusals(401, 403, 422, 503),
        },
      },
    },
    async (request, reply) => {
      const { counted } = request.body;
      const runs = await meant(options, request, request.body);
      if (counted === undefined)
        return await reply
          .type("application/json")
          .send({ bulk: spelt(randomBytes(BULK)), upTo: runs[0]?.cursor ?? "0", count: runs.length });
      const lines = Readable.from(progressOf(options, request, { ...request.body, bulk: counted.bulk }, runs));
      return await reply.type("application/x-ndjson").send(lines as never); // a stream is written as it comes
    },
  );
}

async function meant(options: Parts, request: FastifyRequest, { deed, filter, counted }: Asked): Promise<readonly MatchingRun[]> {
  const { state, outcomes, verb } = DEEDS[deed];
  const { find, group, outcome = outcomes[0], ...others } = filter;
  if (!outcomes.some((it) => it === outcome))
    throw new Refused(422, "Not understood", `Runs with the outcome ${outcome} cannot be meant by ${deed}.`, [
      { path: "/filter/outcome", message: `It is one of ${outcomes.join(", ")}.` },
    ]);
  const runs = await options.pages.matching({
    ...{
      ...others,
      ...foundBy(find),
      ...placedIn(request, options, group),
      outcome,
      state,
      upTo: counted?.upTo,
      most: RUNS_MOST + 1,
    },
    reach: reachWith(request, options, "operate"),
    also: [reachWith(request, options, "see"), reachWith(request, options, verb)],
  });
  if (runs.length > RUNS_MOST)
    throw new Refused(422, "Too many", `More than ${RUNS_MOST.toLocaleString("en")} runs match. Narrow the filter.`);
  return runs;
}

/** A reader that goes away ends it: what was sent is sent, and a repeat does the rest. */
async function* progressOf(
  options: Parts,
  request: FastifyRequest,
  { deed, bulk: id }: Pick<Asked, "deed"> & { readonly bulk: string },
  runs: readonly MatchingRun[],
): AsyncGenerator<string> {
  const line = (progress: z.input<typeof Progress>): string => `${JSON.stringify(progress)}\n`;
  const act = async ({ id: run, generation }: MatchingRun): Promise<void> => {
    const done = { deed: DEEDS[deed].deed, about: run, id: `bulk/${id}/${deed}/${run}` };
    const asker = askerOf(request);
    if (deed === "cancel") return await publish(options, "run.cancel", { ...done, data: { run, generation } }, asker);
    const data: CommandInput<"run.restart"> = { run, generation, from: "failed" };
    return await publish(options, "run.restart", { ...done, data }, asker);
  };
  const of = runs.length;
  try {
    for (let done = 0; done < of; done += TOGETHER) {
      yield line({ done, of });
      await Promise.all(runs.slice(done, done + TOGETHER).map(act));
    }
    yield line({ done: of, of, finished: true });
  } catch (error) {
    options.log.warn("a deed on many runs was broken off", { error });
    yield line({
      of,
      problem: error instanceof Refused ? error.message : "It was broken off. Ask again: what was done is not done twice.",
    });
  }
}
