/** Runs: the list, one run, and the deeds on it. */
import { RunId } from "@longshore/contract/ids.ts";
import type { CommandInput } from "@longshore/contract/messages/command.ts";
import { OUTCOMES } from "@longshore/contract/messages/event.ts";
import { type Asker, reachesAny } from "@longshore/domain/access/access.ts";
import { whyUnusable } from "@longshore/domain/prepared/usable.ts";
import { resolve } from "@longshore/domain/run/resolve.ts";
import type { Deed, RunSearch } from "@longshore/ledger/pages.ts";
import type { RunRow } from "@longshore/ledger/port.ts";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { refusals, RunRows, RunView, Taken } from "../answers.ts";
import { asksTheSame } from "../asks-the-same.ts";
import { denied } from "../denied.ts";
import { markOf, mayUse } from "../mark.ts";
import { fieldOf, noSuchJob, NOT_OPEN, Refused, UNUSABLE } from "../problem.ts";
import type { Parts } from "../parts.ts";
import { publish } from "../publish.ts";
import { sentDeed } from "../sent-deed.ts";
import { askerOf, mayWith, reachWith } from "../sign-in/person.ts";
import { viewOf } from "../views/read.ts";
import { stateOf } from "../views/state.ts";

const ROWS = 50;

const Asked = z.strictObject({
  run: RunId,
  definition: z.string().min(1).max(200),
  parameters: z.record(z.string(), z.unknown()).default({}),
});
const ById = z.object({ id: RunId });
export const Word = z.string().min(1).max(200);
const Search = z.object({
  before: z.string().regex(/^\d{1,18}$/).optional(),
  find: Word.describe("The beginning of a run's id, the name of a Job, or `name=value` of a label or a parameter.").optional(),
  definition: Word.optional(),
  code: Word.describe("The code with which the run ended.").optional(),
  group: Word.describe("For operators: others are not told where a run was placed.").optional(),
  outcome: z.enum([...OUTCOMES, "active"]).optional(),
  mine: z.stringbool().default(false),
}); // biome-ignore format: a table

export function runs(plain: FastifyInstance, options: Parts): void {
  const { pages } = options;
  const server = plain.withTypeProvider<ZodTypeProvider>();

  server.get(
    "/v1/runs",
    {
      config: { for: "see" },
      schema: {
        summary: "Find runs, the newest first.",
        querystring: Search,
        response: { 200: RunRows, ...refusals(401, 403, 422, 503) },
      },
    },
    async (request) => {
      const { find, group, ...query } = request.query;
      const reach = reachWith(request, options, "see");
      const placed = placedIn(request, options, group);
      const { rows, before, searchedBackToMs } = await pages.search({ ...query, ...foundBy(find), ...placed, reach, most: ROWS });
      return {
        rows: rows.map(rowOf),
        ...(before !== undefined && { before }),
        ...(searchedBackToMs !== undefined && { searchedBackToMs }),
      };
    },
  );

  server.get(
    "/v1/run",
    {
      config: { for: "see" },
      schema: {
        summary: "Read one run as its page shows it.",
        querystring: ById,
        response: { 200: RunView, ...refusals(401, 403, 404, 422, 503) },
      },
    },
    (request) => viewOf(options, askerOf(request), request.query.id),
  );

  server.post(
    "/v1/runs",
    {
      config: { for: "run" },
      schema: {
        summary: "Ask for a run of a definition.",
        description:
          "The same id with the same values is the same run, however often it is sent. The answer waits two seconds for the launcher.",
        body: Asked,
        response: {
          200: Taken.describe("The run is there already."),
          201: Taken.describe("The launcher has taken it."),
          202: Taken.describe("It was sent, and the launcher has not answered yet."),
          ...refusals(401, 403, 404, 409, 422, 503),
        },
      },
    },
    async (request, reply) => {
      const { definition } = request.body;
      const asker = askerOf(request);
      if (!mayWith(asker, options, "run", definition)) return await denied(options, request, "run", definition);
      const { status, answer } = await ask(options, request.body, request);
      return reply.code(status).send(answer);
    },
  );

  const ofRun = { run: RunId, generation: z.int().min(1).describe("Which life of the run is meant.") };
  server.post(
    "/v1/cancel",
    {
      config: { for: "stop" },
      schema: {
        summary: "Stop a run.",
        body: z.strictObject(ofRun),
        response: {
          202: Taken.describe("It was sent; the run's story says when it has stopped."),
          ...refusals(401, 403, 404, 422, 503),
        },
      },
    },
    async (request, reply) => {
      const { run, generation } = request.body;
      if (!(await pages.isReached(run, reachWith(request, options, "stop")))) return await denied(options, request, "stop", run);
      await publish(
        options,
        "run.cancel",
        { ...deedOn("stop", run, `stop-${generation}`), data: request.body },
        askerOf(request),
      );
      return reply.code(202).send({ run });
    },
  );

  server.post(
    "/v1/restart",
    {
      config: { for: "run" },
      schema: {
        summary: "Start a run again that has ended.",
        body: z.strictObject({ ...ofRun, from: z.string().default("failed").describe("`failed`, `start`, or a step's name.") }),
        response: {
          202: Taken.describe("It was sent; the run's story says how it goes on."),
          ...refusals(401, 403, 404, 422, 503),
        },
      },
    },
    async (request, reply) => {
      const { run, generation } = request.body;
      for (const verb of ["see", "run"] as const)
        if (!(await pages.isReached(run, reachWith(request, options, verb))))
          return await denied(options, request, "restart", run);
      const data = request.body as CommandInput<"run.restart">;
      await publish(options, "run.restart", { ...deedOn("restart", run, `restart-${generation}`), data }, askerOf(request));
      return reply.code(202).send({ run });
    },
  );
}

const deedOn = (deed: Deed, run: RunId, command: string) => ({ deed, about: run, id: `console/${run}/${command}` });

/** Throws `Refused` for somebody who operates nothing: others are not told where a run was placed. */
export function placedIn(request: FastifyRequest, options: Parts, name: string | undefined): Pick<RunSearch, "group"> {
  if (name === undefined) return {};
  const reach = reachWith(request, options, "operate");
  if (!reachesAny(reach)) throw new Refused(403, "Not open to you", NOT_OPEN);
  return { group: { name, reach } };
}

/** "team=shop" is a label or a parameter; a run's id may hold "=", too, and then begins with what stands before it. */
export function foundBy(find: string | undefined): Pick<RunSearch, "begins" | "tag"> {
  if (find === undefined) return {};
  const [, name, value] = /^([^=]+)=(.+)$/.exec(find) ?? [];
  return name === undefined || value === undefined ? { begins: find } : { tag: { name, value } };
}

const rowOf = (row: RunRow): z.input<typeof RunRows>["rows"][number] => ({
  id: row.id,
  state: stateOf(row),
  askedAtMs: row.acceptedAtMs,
  ...(row.endedAtMs !== undefined && { endedAtMs: row.endedAtMs }),
  ...(row.newest?.code !== undefined && { code: row.newest.code }),
});

/** The same words for an id of somebody else and for one of a run out of reach: neither tells whether there is such a run. */
const notThisId = (asker: Asker): Refused =>
  new Refused(422, "Not this id", `An id of yours ends with -${markOf(asker)}. Open the form again: it brings one.`, [
    { path: "/run", message: `An id of yours ends with -${markOf(asker)}.` },
  ]);

/** One form is one run: what is asked for again under its id is the run that is there. */
async function ask(
  options: Parts,
  asked: z.output<typeof Asked>,
  request: FastifyRequest,
): Promise<{ status: 200 | 201 | 202; answer: z.input<typeof Taken> }> {
  const { pages } = options;
  const { run, definition: name, parameters } = asked;
  const asker = askerOf(request);
  const see = reachWith(request, options, "see");
  if (!mayUse(run, asker, see)) throw notThisId(asker);
  const kept = await pages.find(run);
  if (kept !== undefined) {
    if (!(await pages.isReached(run, see))) throw notThisId(asker);
    if (!asksTheSame(kept, asked))
      throw new Refused(409, "Run already", "This form was sent before, with other values. Open it again for a new run.");
    return { status: 200, answer: { run } };
  }
  const found = await pages.definition(name);
  if (found === undefined) throw noSuchJob(name);
  if (whyUnusable(found) !== undefined) throw new Refused(409, "Not run", UNUSABLE);
  const definition = found.body;
  const resolved = resolve(definition, { definition: definition.name, parameters }, run);
  if (resolved.kind === "refused")
    throw new Refused(422, "Not run yet", "Some values cannot be used.", resolved.problems.map(fieldOf));

  const data = { run, definition: definition.name, parameters } as CommandInput<"run.requested">;
  const answer = await sentDeed(options, {
    run,
    send: () => publish(options, "run.requested", { ...deedOn("run", run, "run"), data }, asker),
    isAnswer: ({ type }) => type === "command.refused" || type === "run.accepted",
    refused: "Not run",
  });
  const isTaken = answer === "done" || (await pages.find(run)) !== undefined;
  return { status: isTaken ? 201 : 202, answer: { run } };
}
