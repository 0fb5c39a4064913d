/** What the console answers those who operate, as schemas: see answers.ts. */
import { Blame } from "@longshore/contract/messages/diagnosis.ts";
import { z } from "zod";
import { milliseconds, Person } from "./answers.ts";

export const GroupView = z
  .object({
    name: z.string(),
    namespace: z.string(),
    word: z.enum(["unserved", "paused", "unwatched", "unknown", "healthy", "unhealthy"]),
    paused: z
      .object({
        sinceMs: milliseconds("Since when"),
        actor: Person.optional(),
        reason: z.string().optional(),
        drain: z.boolean().optional(),
      })
      .optional(),
    remarks: z
      .array(
        z.object({
          about: z.enum(["unserved", "paused", "unhealthy", "unwatched", "full", "unheld"]),
          says: z.string(),
          todo: z.string().optional(),
          stops: z.boolean().describe("True if the group takes no run because of it."),
        }),
      )
      .readonly(),
    slots: z.object({ used: z.number(), inLine: z.number(), of: z.number() }),
    waiting: z.object({ count: z.int(), sinceMs: milliseconds("Since when the first of them waits").optional() }),
    left: z.string().describe("What of ours is left there, in words; empty: nothing."),
    watchedAtMs: milliseconds("When it was seen last").optional(),
    tally: z.object({ atMs: milliseconds("When ledger and cluster were compared"), unknown: z.int() }).optional(),
    finishedHolds: z.object({ count: z.int(), oldestMs: z.number().optional() }),
  })
  .meta({ id: "Group" });
export type GroupView = z.output<typeof GroupView>;

export const Groups = z.object({
  nowMs: milliseconds("The ledger's time"),
  hasLauncher: z.boolean(),
  groups: z.array(GroupView),
});
export type Groups = z.output<typeof Groups>;

const HealthRow = z.object({
  part: z.string(),
  state: z.enum(["ok", "look", "broken"]),
  says: z.string(),
  todo: z.string().optional(),
});
export type HealthRow = z.output<typeof HealthRow>;

export const Health = z.object({ nowMs: milliseconds("The ledger's time"), rows: z.array(HealthRow).readonly() });
export type Health = z.output<typeof Health>;

export const Numbers = z.object({
  hours: z
    .array(
      z.object({
        atMs: milliseconds("When it began"),
        succeeded: z.int(),
        stopped: z.int(),
        request: z.int(),
        cluster: z.int(),
        platform: z.int(),
      }),
    )
    .readonly()
    .describe("How many runs ended in each hour, the oldest first: those that failed or were lost by who must act."),
  codes: z
    .array(z.object({ code: z.string(), blame: Blame, n: z.int() }))
    .readonly()
    .describe("Why runs failed or were lost, the most frequent first."),
});
export type Numbers = z.output<typeof Numbers>;

export const Ordered = z.object({
  group: z.string(),
  answered: z.boolean().describe("False if the launcher has not answered yet."),
});

export const AuditRows = z.object({
  rows: z.array(
    z.object({
      atMs: milliseconds("When it was asked"),
      by: Person,
      deed: z.string(),
      about: z.string(),
      state: z.enum(["open", "done", "refused", "denied"]).describe("`open`: the launcher has not answered yet."),
    }),
  ),
  before: z.string().optional().describe("The parameter `before` of the next page; absent on the last."),
});
export type AuditRows = z.output<typeof AuditRows>;
