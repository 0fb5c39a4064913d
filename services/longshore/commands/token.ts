/** `longshore token`: tokens with which programs ask the web console, as people do by their sessions. */
import { TokenName } from "@longshore/contract/access-rule.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { durationMs } from "@longshore/contract/units.ts";
import { hashOf, newProgramToken } from "@longshore/console/sign-in/tokens.ts";
import type { Pages, TokenRow } from "@longshore/ledger/pages.ts";
import {
  command,
  CONFIG,
  configWords,
  during,
  family,
  iso,
  json,
  JSON_OPTION,
  meant,
  say,
  screenIn,
  type Surroundings,
  tell,
  Usage,
} from "../command.ts";
import { pagesOf } from "../pages-of.ts";
import { type Column, table } from "../screen/rows.ts";
import { timeText } from "../screen/times.ts";
import { findLongshore } from "../which-longshore.ts";

const FOR = "90d";
const NAMES = { list: "token list", field: "name" };

export const token = family({
  name: "token",
  summary: "make, list and remove tokens with which programs ask the web console",
  more: `
A program sends its token with each request, as the header "authorization: Bearer lsk_…". A token may do nothing until a rule in the console's settings grants it something: { who: { token: nightly }, may: [runner] }.

  longshore token add nightly --for 30d
  longshore token remove nightly`,
  verbs: {
    add: command({
      name: "token add",
      summary: "make a token, and print it this once",
      usage: ["NAME [--for 90d]"],
      options: {
        for: { type: "string", value: "DURATION", about: `how long it is good for, at most 366d (default: ${FOR})` },
        config: CONFIG,
      },
      words: ["a name for the token"],
      more: `
Only the token's hash is kept: whoever loses it removes it and makes another.`,
      async run({ for: given = FOR, config }, [name = ""], surroundings) {
        const named = TokenName.safeParse(name);
        if (!named.success) throw new Usage(`"${name}" is no name of a token: ${named.error.issues[0]?.message ?? ""}`);
        const forMs = durationMs(given);
        if (forMs === undefined || forMs === 0)
          throw new Usage(`--for is a duration of at most 366d, such as 12h or 90d; not "${given}"`);
        await using pages = await pagesIn(config, surroundings);
        const made = newProgramToken();
        if (!(await pages.tokens.add(name, hashOf(made), forMs)))
          throw new Failure(
            "refuse",
            "TokenThere",
            `there is a token "${name}" already: \`longshore token remove ${name}${configWords(config)}\` removes it`,
          );
        say(surroundings, [made]);
        surroundings.note?.(
          `This is shown once. It is good for ${given}, and may do what a rule of the console grants it:`,
          `- { who: { token: ${name} }, may: [runner] }`,
        );
        return 0;
      },
    }),
    list: command({
      name: "token list",
      summary: "show the tokens and until when each is good",
      usage: ["[--json]"],
      options: { json: JSON_OPTION, config: CONFIG },
      async run({ config, json: asJson = false }, _, surroundings) {
        await using pages = await pagesIn(config, surroundings);
        const rows = await pages.tokens.list();
        if (asJson) surroundings.out(json(rows.map(recordOf)));
        else if (rows.length === 0) tell(surroundings, "no tokens: `longshore token add NAME` makes one");
        else say(surroundings, table(rows, COLUMNS, screenIn(surroundings)));
        return 0;
      },
    }),
    remove: command({
      name: "token remove",
      summary: "remove a token: its next request is refused",
      usage: ["NAME"],
      options: { config: CONFIG },
      words: ["a token's name"],
      namedBy: NAMES,
      async run({ config }, [name = ""], surroundings) {
        await using pages = await pagesIn(config, surroundings);
        if (!(await pages.tokens.remove(name))) {
          const names = (await pages.tokens.list()).map((it) => it.name);
          const there = names.length === 0 ? "none" : names.join(", ");
          throw new Failure("refuse", "NoToken", `there is no token "${name}"; there is ${there}${meant(name, names)}`);
        }
        tell(surroundings, `removed the token ${name}`);
        return 0;
      },
    }),
  },
});

async function pagesIn(config: string | undefined, surroundings: Surroundings): Promise<Pages> {
  const longshore = await findLongshore({ config }, surroundings);
  return await during(surroundings, "waiting for the ledger", () => pagesOf(longshore));
}

const COLUMNS: readonly Column<TokenRow>[] = [
  { head: "STATE", cell: ({ isExpired }) => (isExpired ? "EXPIRED" : "GOOD") },
  { head: "TOKEN", yields: true, cell: ({ name }) => name },
  { head: "MADE", goes: 1, cell: ({ madeAtMs }) => timeText(madeAtMs) },
  { head: "UNTIL", cell: ({ untilMs }) => timeText(untilMs) },
];

const recordOf = ({ name, isExpired, madeAtMs, untilMs }: TokenRow): object => ({
  ...{ name, state: isExpired ? "expired" : "good", made: iso(madeAtMs), until: iso(untilMs) },
});
