/** Runs: the list, one run, and the deeds on it. Each deed is a message, as any application would send it. */
import { RunId } from "@longshore/contract/ids.ts";
import type { CommandInput, CommandType } from "@longshore/contract/messages/command.ts";
import { readCommand, writeCommand } from "@longshore/contract/messages/envelope.ts";
import { resolve } from "@longshore/domain/run/resolve.ts";
import type { Person } from "@longshore/ledger/pages.ts";
import type { RunRow } from "@longshore/ledger/port.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { asksTheSame } from "../asks-the-same.ts";
import { type FieldProblem, Refused } from "../problem.ts";
import type { Parts } from "../parts.ts";
import { personOf } from "../sign-in/person.ts";
import { viewOf } from "../views/read.ts";
import { stateOf } from "../views/state.ts";

const SOURCE = "/longshore/console";
const ROWS = 50;
/** The answer waits this long for the launcher: most runs are taken within it, and the page can say so at once. */
const TAKEN_WITHIN_MS = 2_000;

const Asked = z.strictObject({
  run: RunId,
  definition: z.string().min(1).max(200),
  parameters: z.record(z.string(), z.unknown()).default({}),
});
const ById = z.object({ id: RunId });

export function runs(plain: FastifyInstance, options: Parts): void {
  const { pages } = options;
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const signedIn = { config: { for: "signed-in" } } as const;

  server.get(
    "/v1/runs",
    { ...signedIn, schema: { querystring: z.object({ before: z.string().optional() }) } },
    async ({ query }) => {
      const rows = await pages.list({ most: ROWS, ...(query.before !== undefined && { before: query.before }) });
      return { rows: rows.map(rowOf), ...(rows.length === ROWS && { before: rows.at(-1)?.cursor }) };
    },
  );

  server.get("/v1/run", { ...signedIn, schema: { querystring: ById } }, async ({ query: { id } }) => await viewOf(options, id));

  server.post("/v1/runs", { ...signedIn, schema: { body: Asked } }, async (request, reply) => {
    const { status, answer } = await ask(options, request.body, personOf(request));
    return reply.code(status).send(answer);
  });

  server.post(
    "/v1/cancel",
    { ...signedIn, schema: { body: z.strictObject({ run: RunId, generation: z.int().min(1) }) } },
    async (request, reply) => {
      await publish(options, "run.cancel", `stop-${request.body.generation}`, request.body, personOf(request));
      return reply.code(202).send({ run: request.body.run });
    },
  );

  server.post(
    "/v1/restart",
    {
      ...signedIn,
      schema: { body: z.strictObject({ run: RunId, generation: z.int().min(1), from: z.string().default("failed") }) },
    },
    async (request, reply) => {
      await publish(
        options,
        "run.restart",
        `restart-${request.body.generation}`,
        request.body as CommandInput<"run.restart">,
        personOf(request),
      );
      return reply.code(202).send({ run: request.body.run });
    },
  );
}

const rowOf = (row: RunRow): object => ({
  id: row.id,
  state: stateOf(row),
  askedAtMs: row.acceptedAtMs,
  ...(row.endedAtMs !== undefined && { endedAtMs: row.endedAtMs }),
  ...(row.newest?.code !== undefined && { code: row.newest.code }),
});

/** One form is one run: what is asked for again under its id is the run that is there. */
async function ask(
  options: Parts,
  asked: z.output<typeof Asked>,
  person: Person,
): Promise<{ status: 200 | 201 | 202; answer: object }> {
  const { pages, live, clock } = options;
  const { run, definition: name, parameters } = asked;
  const kept = await pages.find(run);
  if (kept !== undefined) {
    if (!asksTheSame(kept, asked))
      throw new Refused(409, "Run already", "This form was sent before, with other values. Open it again for a new run.");
    return { status: 200, answer: { run } };
  }
  const definition = await pages.definition(name);
  if (definition === undefined) throw new Refused(404, "No such job", `Nothing is prepared under the name ${name}.`);
  const resolved = resolve(definition, { definition: definition.name, parameters }, run);
  if (resolved.kind === "refused")
    throw new Refused(422, "Not run yet", "Some values cannot be used.", resolved.problems.map(fieldOf));

  const answered = Promise.withResolvers<"taken" | readonly FieldProblem[]>();
  const off = live.on(run, ({ type, data }) => {
    if (type === "command.refused") answered.resolve(data.problems.map(fieldOf));
    else if (type === "run.accepted") answered.resolve("taken");
  });
  const late = clock.alarm(TAKEN_WITHIN_MS, () => answered.resolve([]));
  try {
    await publish(
      options,
      "run.requested",
      "run",
      { run, definition: definition.name, parameters } as CommandInput<"run.requested">,
      person,
    );
    const answer = await answered.promise;
    if (answer === "taken" || (answer.length === 0 && (await pages.find(run)) !== undefined))
      return { status: 201, answer: { run } };
    if (answer.length > 0) throw new Refused(409, "Not run", answer.map(({ message }) => message).join(" "), answer);
    return { status: 202, answer: { run } };
  } finally {
    off();
    late();
  }
}

const fieldOf = ({ path, message }: { readonly path: string; readonly message: string }): FieldProblem => ({
  path: path.replace(/^\/data\/parameters/, ""),
  message,
});

/** The same deed has the same id: a form that is sent twice stops or restarts once. */
async function publish<T extends CommandType>(
  { broker, signal }: Parts,
  type: T,
  deed: string,
  data: CommandInput<T>,
  { name, id }: Person,
): Promise<void> {
  if (broker.status().kind !== "connected")
    throw new Refused(503, "Not just now", "The broker cannot be reached, so nothing was sent. Try again in a moment.");
  const message = `console/${(data as { readonly run: string }).run}/${deed}`;
  const body = writeCommand({
    id: message,
    source: SOURCE,
    type,
    data: { ...data, actor: { name, ...(id !== undefined && { id }) } },
  });
  const read = readCommand(body);
  if (read.kind !== "command")
    throw new Refused(422, "Not understood", read.problems.map((it) => it.message).join(" "), read.problems.map(fieldOf));
  await broker.publish("commands", { id: message, key: type, body }, signal);
}
