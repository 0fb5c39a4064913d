/** `longshore link`: a link that signs a person in to the web console, once. */
import { userInfo } from "node:os";
import { type Role, ROLE_NAMES } from "@longshore/contract/access-rule.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Asker } from "@longshore/domain/access/access.ts";
import { LINK_MS, newLink } from "@longshore/console/sign-in/tokens.ts";
import { command, CONFIG, say, type Surroundings, Usage } from "../command.ts";
import { whole } from "../screen/rows.ts";
import { pagesOf } from "../pages-of.ts";
import { findLongshore } from "../which-longshore.ts";

const NAME_MOST = 200;
/** Whoever can write the ledger can do everything in it already. */
const ADMINS: readonly Role[] = ["admin"];

export const link = command({
  name: "link",
  summary: "print a link that signs in to the web console, once",
  usage: ["[--name NAME] [--team NAME ...] [--console URL]"],
  options: {
    name: {
      type: "string",
      value: "NAME",
      about: "who signs in: runs that are asked for say so (default: your user's name on this machine)",
    },
    team: {
      type: "string",
      multiple: true,
      value: "NAME",
      about: `the person's team in the console's access rules; may be repeated (default: admin). A Longshore that \`up\` started knows ${ROLE_NAMES.join(", ")}`,
    },
    console: {
      type: "string",
      value: "URL",
      about: "the console's address, such as http://127.0.0.1:7373 (default: that of the Longshore in this folder)",
    },
    config: CONFIG,
  },
  more: `
The link works once, and for 10 minutes. A session then lasts for 12 hours, or until its person signs out.`,
  async run({ name = userInfo().username, team: teams = ADMINS, console: named, config }, _, surroundings) {
    if (name === "" || name.length > NAME_MOST) throw new Usage(`--name has 1 to ${NAME_MOST} characters`);
    const longshore = await findLongshore({ config }, surroundings);
    const at = named ?? longshore.console;
    if (at === undefined)
      throw new Failure("halt", "NoConsole", "no console is known here: name its address, --console http://127.0.0.1:7373");
    if (!URL.canParse(at)) throw new Usage(`--console needs an address such as http://127.0.0.1:7373; not "${at}"`);
    await using pages = await pagesOf(longshore);
    say(surroundings, [await newLink(pages.signIns, new URL(at).origin, { name, teams })]);
    return 0;
  },
});

/** Whoever starts a Longshore on this machine is the person who signs in first. */
export const person = (): Asker => ({ name: userInfo().username, teams: ADMINS });

/** Prints a link for the person who reads this. What is copied stands alone at the end of its line. */
export function sayLink(link: string, config: string, surroundings: Pick<Surroundings, "out">): void {
  const another = `npm run longshore -- link${config}`;
  say(surroundings, [...linkLines(link), whole("another:", 11), whole(another, 13)]);
}

export const linkLines = (link: string): readonly string[] => [
  "",
  whole(`console  ${link}`, 2),
  whole(`one-time, ${LINK_MS / 60_000} min`, 11),
];
