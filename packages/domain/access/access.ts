/**
 * The rules of the console's configuration, and what a person may do by them.
 *
 * The failures this prevents: a page that shows a run and refuses its log's reader only afterwards; and a rule for one definition
 * that opens another. What a person may is told as a reach, which a query takes whole: nothing is read first and hidden then.
 */
import { type AccessRule, ROLES, type Role, type Verb } from "@longshore/contract/access-rule.ts";
import type { TenantName } from "@longshore/contract/ids.ts";

/** A person who signed in, or a program with a token. */
export interface Asker {
  readonly name: string;
  readonly id?: string | undefined;
  readonly teams?: readonly string[] | undefined;
  readonly token?: string | undefined;
}

/** By this name an asker's own runs are found. Names may be the same where ids are not. */
export const idOf = ({ id, name }: Pick<Asker, "id" | "name">): string => id ?? name;

/** Definitions and tenants that one rule covers; absent: all. */
export interface Extent {
  readonly definitions?: readonly string[];
  readonly tenants?: readonly TenantName[];
}

/** The runs that an asker may see or act on: those in `all`, and those in `own` that they asked for themselves. */
export interface Reach {
  readonly all: readonly Extent[];
  readonly own: readonly Extent[];
  readonly me: string;
}

/** With these verbs, a person who may run a definition reaches the runs of it that they asked for. */
const OF_OWN: readonly Verb[] = ["see", "log", "stop"];

export function reachOf(rules: readonly AccessRule[], asker: Asker, verb: Verb): Reach {
  const granted = (wanted: Verb): readonly Extent[] =>
    rules.filter(({ who, may }) => isMeant(who, asker) && may.some((it) => verbsOf(it).includes(wanted))).map(extentOf);
  return { all: granted(verb), own: OF_OWN.includes(verb) ? granted("run") : [], me: idOf(asker) };
}

/** True if there is anything at all that the asker may reach. */
export const reachesAny = ({ all, own }: Reach): boolean => all.length + own.length > 0;

/** True if the reach has no limit at all. */
export const reachesEverything = ({ all }: Reach): boolean =>
  all.some(({ definitions, tenants }) => definitions === undefined && tenants === undefined);

/** True if the reach covers all that is of some tenant, also what belongs to no run. */
export const reachesTenants = ({ all }: Reach): boolean => all.some(({ definitions }) => definitions === undefined);

export interface About {
  readonly definition: string | undefined;
  readonly tenant: TenantName;
  /** The person who asked for the run; absent for a definition. */
  readonly by?: Pick<Asker, "id" | "name"> | undefined;
}

export const reaches = ({ all, own, me }: Reach, about: About): boolean =>
  all.some((it) => covers(it, about)) || (about.by !== undefined && idOf(about.by) === me && own.some((it) => covers(it, about)));

/** The definitions that rules name and that none of these is: most often one of the two is misspelt, and a person may do nothing. */
export const namedInVain = (rules: readonly AccessRule[], definitions: readonly string[]): readonly string[] =>
  [...new Set(rules.flatMap((it) => it.definitions ?? []))].filter((named) => !definitions.some((it) => isLike(it, named)));

const isRole = (it: Verb | Role): it is Role => Object.hasOwn(ROLES, it);
const verbsOf = (it: Verb | Role): readonly Verb[] => (isRole(it) ? ROLES[it] : [it]);

function isMeant(who: AccessRule["who"], asker: Asker): boolean {
  // A program's token has rules of its own: the person who made it may lose their rights.
  if ("token" in who) return asker.token === who.token;
  if (asker.token !== undefined) return false;
  return "user" in who ? idOf(asker) === who.user : (asker.teams ?? []).includes(who.team);
}

const extentOf = ({ definitions, tenants }: AccessRule): Extent => ({
  ...(definitions && { definitions }),
  ...(tenants && { tenants }),
});

const covers = ({ definitions, tenants }: Extent, { definition, tenant }: About): boolean =>
  (tenants === undefined || tenants.includes(tenant)) &&
  (definitions === undefined || (definition !== undefined && definitions.some((it) => isLike(definition, it))));

const isLike = (name: string, pattern: string): boolean =>
  pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
