/** The catalogue: every definition as a card, and one definition with its form. */
import { DefinitionName } from "@longshore/contract/ids.ts";
import { type Asker, namedInVain } from "@longshore/domain/access/access.ts";
import type { GroupState, StoredDefinition } from "@longshore/ledger/port.ts";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { type CardForOperators, Cards, Form, refusals } from "../answers.ts";
import { markOf } from "../mark.ts";
import { noSuchJob } from "../problem.ts";
import type { Parts } from "../parts.ts";
import { askerOf, mayAnywhere, mayKnow, mayWith, reachWith } from "../sign-in/person.ts";
import { cardOf } from "../views/card.ts";
import { cardForOperators } from "../views/card-for-operators.ts";
import { stateOfEnd } from "../views/state.ts";
import { newRun } from "../new-run.ts";

const MARKS = 10;

export function catalogue(plain: FastifyInstance, { pages, clock, access }: Parts): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const mayRun = (asker: Asker, definition: string) => mayWith(asker, { access }, "run", definition);

  const listed = {
    summary: "List the definitions that the asker may run or see.",
    response: { 200: Cards, ...refusals(401, 503) },
  };
  server.get("/v1/definitions", { config: { for: "signed-in" }, schema: listed }, async (request) => {
    const asker = askerOf(request);
    const stored = await pages.definitions();
    const all = stored.filter(({ body }) => mayKnow(asker, { access }, body.name));
    const groups = mayAnywhere(asker, { access }, "operate") ? await pages.groups() : undefined;
    const forOperators = groups === undefined ? new Map<string, never>() : await operatedOf(pages, stored, groups);
    const names = all.map(({ body }) => body.name);
    const [recent, went] = await Promise.all([
      pages.recent(names, { most: MARKS, reach: reachWith(request, { access }, "see") }),
      pages.howItWent(names),
    ]);
    const card = (it: StoredDefinition) => {
      const { name } = it.body;
      const operators = forOperators.get(name);
      return {
        ...cardOf(it, recent.get(name) ?? [], went.get(name), mayRun(asker, name)),
        ...(operators && { operators }),
      };
    };
    const inVain = mayAnywhere(asker, { access }, "administer")
      ? namedInVain(
          access,
          stored.map(({ body }) => body.name),
        )
      : [];
    return { nowMs: clock.now(), cards: all.map(card), inVain, discovers: discoversOf(groups ?? []) };
  });

  /** The form gets its run's id with it: one form is one run, however often it is sent. */
  server.get(
    "/v1/definition",
    {
      config: { for: "signed-in" },
      schema: {
        summary: "Read one definition with its parameters, and get an id for a run of it.",
        querystring: z.object({ name: DefinitionName }),
        response: { 200: Form, ...refusals(401, 404, 422, 503) },
      },
    },
    async (request) => {
      const { name } = request.query;
      const asker = askerOf(request);
      const found = mayKnow(asker, { access }, name) ? await pages.definition(name) : undefined;
      if (found === undefined) throw noSuchJob(name);
      const reach = reachWith(request, { access }, "see");
      const [recent, went, endings] = await Promise.all([
        pages.recent([name], { most: MARKS, reach }),
        pages.howItWent([name]),
        pages.endings(name, reach),
      ]);
      return {
        card: cardOf(found, recent.get(name) ?? [], went.get(name), mayRun(asker, name)),
        endings: endings.map(({ outcome, ...it }) => ({ ...it, state: stateOfEnd(outcome) })).reverse(),
        parameters: found.body.parameters ?? { type: "object", properties: {} },
        run: newRun(name, markOf(asker)),
      };
    },
  );
}

const discoversOf = (groups: readonly GroupState[]): Cards["discovers"] =>
  groups.flatMap(({ name: group, namespace, settings: { discover } }) => (discover ? { group, namespace, ...discover } : []));

async function operatedOf(
  pages: Parts["pages"],
  stored: readonly StoredDefinition[],
  groups: readonly GroupState[],
): Promise<ReadonlyMap<string, CardForOperators>> {
  const [nowMs, hasLauncher] = await Promise.all([pages.now(), pages.hasLauncher()]);
  const at = { nowMs, hasLauncher };
  return new Map(stored.map((it) => [it.body.name, cardForOperators(it, groups, at)]));
}
