/**
 * Rules that say who may do what in the console. A rule only grants: what no rule grants, nobody may do.
 *
 * The failure this prevents: a person who may do something because a later rule was meant to forbid it, and was read first.
 */
import { z } from "zod";
import { TenantName } from "./ids.ts";

/**
 * see: the runs and how they went. log: what their programs printed. run: ask for a run, and start one again. stop: end
 * somebody's run. operate: act on groups and on many runs. administer: read who did what.
 */
export const VERBS = ["see", "log", "run", "stop", "operate", "administer"] as const;
export type Verb = (typeof VERBS)[number];

/** Names for sets of verbs. Whoever may run a definition also sees, reads and stops the runs of it that they asked for. */
export const ROLES = {
  viewer: ["see", "log"],
  runner: ["run"],
  operator: ["see", "log", "run", "stop", "operate"],
  admin: VERBS,
} as const satisfies Readonly<Record<string, readonly Verb[]>>;
export type Role = keyof typeof ROLES;
export const ROLE_NAMES = Object.keys(ROLES) as readonly Role[];

const Name = z.string().min(1).max(200);

/** A program's token is called so in rules, and in what the program did. */
export const TokenName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "A token's name has small letters, digits and '-', and at most 63 of them.");

/** The last "*" stands for whatever follows. */
const DefinitionPattern = z
  .string()
  .max(200)
  .regex(/^[a-z0-9./-]*\*?$/, 'A definition is named whole, or by its beginning and "*", such as "reports-*".');

export const AccessRule = z.strictObject({
  who: z.union([
    z.strictObject({ user: Name.describe("The person's id, or the name if it has none.") }),
    z.strictObject({ team: Name.describe("A team that the person's sign-in names.") }),
    z.strictObject({ token: TokenName.describe("A token's name.") }),
  ]),
  may: z.array(z.enum([...VERBS, ...ROLE_NAMES])).min(1),
  definitions: z
    .array(DefinitionPattern)
    .min(1)
    .describe("Only these definitions and their runs. Without it all, and runs that are made of none.")
    .optional(),
  tenants: z.array(TenantName).min(1).optional(),
});
export type AccessRule = z.output<typeof AccessRule>;
