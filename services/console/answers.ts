/**
 * What the console answers, as schemas. The routes write their answers by these, the page takes its types from them, and
 * /v1/openapi.json describes them.
 *
 * The failure this prevents: a field that the server renames, and that a page or a program goes on to read. What the ledger holds
 * of a newer launcher's words (types of events, codes) is any text here: an answer must not fail because of a new word.
 */
import { VERBS } from "@longshore/contract/access-rule.ts";
import { Considered, OUTCOMES } from "@longshore/contract/messages/event.ts";
import { LogTail } from "@longshore/contract/messages/fact.ts";
import { STATES } from "./views/state.ts";
import { z } from "zod";

export const milliseconds = (about: string) => z.number().describe(`${about}, in milliseconds since 1970.`);
const Values = z.record(z.string(), z.unknown());

export const FieldProblem = z.object({
  path: z.string().describe('What is wrong, as a path such as "/month".'),
  message: z.string(),
});
export type FieldProblem = z.output<typeof FieldProblem>;

export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe("A sentence for the person who reads it."),
    problems: z.array(FieldProblem).optional(),
    signIn: z.string().optional().describe("Where a browser goes to sign in."),
  })
  .meta({ id: "Problem", description: "An answer that is no success (RFC 9457)." });
export type Problem = z.output<typeof Problem>;

type Refusal = 400 | 401 | 403 | 404 | 409 | 422 | 429 | 503;
const REFUSALS: Readonly<Record<Refusal, string>> = {
  400: "The request could not be read.",
  401: "Nobody is signed in.",
  403: "No rule lets the asker do this.",
  404: "There is no such thing, or none that the asker may see.",
  409: "It cannot be done as things stand.",
  422: "Some values cannot be used; each is named.",
  429: "More was asked than one may ask in a minute. Try again after `Retry-After` seconds.",
  503: "The ledger or the broker cannot be reached. Try again after `Retry-After` seconds.",
};

const PROBLEM = { "application/problem+json": { schema: Problem } } as const;

/** The schemas of the refusals that a route may give, by their statuses. Each route may be asked too often. */
export const refusals = <S extends Refusal>(...statuses: readonly S[]) =>
  Object.fromEntries([...statuses, 429 as const].map((it) => [it, { description: REFUSALS[it], content: PROBLEM }])) as {
    readonly [status in S | 429]: { readonly description: string; readonly content: typeof PROBLEM };
  };

/** Written piece by piece, and by no schema. */
export const EVENT_STREAM = {
  description: "Server-sent events.",
  content: { "text/event-stream": { schema: z.string() } },
} as const;

export const Person = z.object({ name: z.string(), id: z.string().optional() }).meta({ id: "Person" });
const Owner = z.object({ name: z.string(), contact: z.string().optional() });
const State = z.enum(STATES);

export const Me = z.object({
  name: z.string(),
  installation: z.string(),
  may: z.array(z.enum(VERBS)).describe("What this person may do with anything at all."),
  hasSession: z.boolean().describe("False if each request names the person anew: there is no session to end."),
  seesRefused: z.boolean().describe("True if this person may read refused requests."),
  mark: z.string().describe("The end of every run's id that this person may choose, behind a `-`."),
});
export type Me = z.output<typeof Me>;

export const CardForOperators = z.object({
  origin: z.string(),
  digest: z.string(),
  sinceMs: milliseconds("Since when it has this content"),
  whyNot: z.string().optional().describe("Why it cannot be run, or no group takes a run of it now; absent if one does."),
});
export type CardForOperators = z.output<typeof CardForOperators>;

export const Card = z
  .object({
    name: z.string(),
    title: z.string(),
    description: z.string().optional(),
    owner: Owner.optional(),
    mayRun: z.boolean(),
    isUnusable: z
      .literal(true)
      .optional()
      .describe("Nobody can run it: what was prepared in a cluster is gone, or cannot be kept in a run."),
    marks: z.array(State).readonly().describe("How its last runs went, the newest last."),
    last: z
      .object({
        id: z.string().optional().describe("Absent if whoever looks may not see that run."),
        state: State,
        askedAtMs: milliseconds("When it was asked for"),
        startedAtMs: milliseconds("When its first program started").optional(),
        endedAtMs: milliseconds("When it ended").optional(),
        by: Person.optional(),
        code: z.string().optional(),
      })
      .optional(),
    usualMs: z.number().optional().describe("The middle of the durations of runs that succeeded."),
    times: z
      .object({ halfMs: z.number(), mostMs: z.number() })
      .optional()
      .describe("Half of the newest runs that succeeded took no longer, and 95 of 100; absent where too few did."),
    rate: z
      .object({ succeeded: z.int(), of: z.int() })
      .optional()
      .describe("Of the newest runs that were not stopped, how many succeeded."),
    lastSuccessMs: milliseconds("When a run succeeded last").optional(),
    operators: CardForOperators.optional().describe("For those alone who operate."),
  })
  .meta({ id: "Card", description: "A definition, and how its runs went." });
export type Card = z.output<typeof Card>;

export const Cards = z.object({
  nowMs: milliseconds("The server's time"),
  cards: z.array(Card),
  inVain: z
    .array(z.string())
    .readonly()
    .describe("Definitions that the access rules name and nobody has prepared, for those who can change the rules."),
  discovers: z
    .array(z.object({ group: z.string(), namespace: z.string(), annotation: z.string() }))
    .readonly()
    .describe("Where an annotation prepares a job, for those who operate."),
});
export type Cards = z.output<typeof Cards>;

const Ending = z.object({
  id: z.string().optional().describe("Absent for a run that whoever looks may not see."),
  state: State,
  lastedMs: z.number().optional().describe("From the first start of a program to the last end of one; absent if nothing ran."),
  endedAtMs: milliseconds("When it ended"),
});
export type Ending = z.output<typeof Ending>;

export const Form = z.object({
  card: Card,
  endings: z.array(Ending).describe("How its newest runs ended, the newest last."),
  parameters: Values.describe("The parameters, as JSON Schema."),
  run: z.string().describe("The id for the run that this form asks for: sent twice, it is one run."),
});

const Stage = z.object({
  name: z.enum(["Asked", "Waiting", "Starting", "Running"]),
  atMs: milliseconds("When it began"),
  ms: z.number().optional().describe("How long it lasted; absent while it lasts."),
  note: z.string().optional().describe("What it waits for, or which try it is."),
});
export type Stage = z.output<typeof Stage>;

export const May = z.object({
  log: z.boolean(),
  stop: z.boolean(),
  run: z.boolean().describe("True if whoever looks may run its definition again."),
  operate: z.boolean(),
});
export type May = z.output<typeof May>;

const StoryLine = z.object({ sequence: z.int(), atMs: milliseconds("When it was recorded"), type: z.string(), says: z.string() });
export type StoryLine = z.output<typeof StoryLine>;

const Phase = z.object({
  name: z.enum(["waiting", "starting", "running"]),
  fromMs: milliseconds("When it began"),
  toMs: milliseconds("When it ended").optional(),
});
export type Phase = z.output<typeof Phase>;

const AttemptView = z.object({
  step: z.string(),
  number: z.int(),
  phases: z.array(Phase).readonly(),
  group: z.string().optional(),
  namespace: z.string().optional(),
  job: z.string().optional().describe("The Job's name, if its create was ever sent."),
  pod: z.string().optional(),
  node: z.string().optional(),
  exitCode: z.int().optional(),
  result: z
    .enum([...OUTCOMES, "refused", "deleted", "moved"])
    .optional()
    .describe("Absent while it goes on. `moved`: nothing of it started, and the next is made in another group."),
  code: z.string().optional(),
});
export type AttemptView = z.output<typeof AttemptView>;

export const OperatorsView = z
  .object({
    group: z.string().optional(),
    considered: z
      .array(Considered)
      .readonly()
      .describe("Each group that was looked at for the newest attempt, and why it was taken or not."),
    attempts: z.array(AttemptView).readonly(),
    commands: z.array(z.string()).readonly().describe("Empty for a run that no kubectl reaches."),
    digest: z.string().optional().describe("Which definition it was made of, exactly."),
    source: z.string(),
  })
  .meta({ id: "RunForOperators" });
export type OperatorsView = z.output<typeof OperatorsView>;

export const RunView = z
  .object({
    id: z.string(),
    title: z.string().describe("Its definition's title, as it is today."),
    definition: z.string().optional(),
    parameters: Values,
    may: May,
    state: State,
    sequence: z.int(),
    generation: z.int(),
    askedAtMs: milliseconds("When it was asked for"),
    by: Person.optional(),
    endedAtMs: milliseconds("When it ended").optional(),
    stages: z.array(Stage).readonly().describe("From the first stage to the newest."),
    steps: z
      .array(z.object({ name: z.string(), state: z.enum(["to come", "running", "done", "failed", "skipped"]) }))
      .readonly()
      .describe("Empty for a run of one step."),
    why: z
      .object({
        code: z.string(),
        sentence: z.string(),
        blame: z.string(),
        hint: z.string().optional().describe("What whoever looks can do."),
        ticketHint: z.string().optional().describe("What whoever gets the ticket can do, if it takes a command."),
      })
      .optional()
      .describe("Why it waits, stalls or failed."),
    owner: Owner.optional(),
    outputs: Values.optional(),
    log: LogTail.optional(),
    story: z.array(StoryLine).readonly(),
    operators: OperatorsView.optional().describe("For those alone who operate."),
  })
  .meta({ id: "Run", description: "One run, as its page shows it." });
export type RunView = z.output<typeof RunView>;

const RunRow = z.object({
  id: z.string(),
  state: State,
  askedAtMs: milliseconds("When it was asked for"),
  endedAtMs: milliseconds("When it ended").optional(),
  code: z.string().optional(),
});
export const RunRows = z.object({
  rows: z.array(RunRow).describe("The newest first."),
  before: z.string().optional().describe("The parameter `before` of the next page; absent on the last."),
  searchedBackToMs: milliseconds("Only runs since then were looked through, and there may be more before").optional(),
});
export type RunRows = z.output<typeof RunRows>;

export const Taken = z.object({ run: z.string() });

export const Counted = z.object({
  bulk: z.string().describe("What a deed on these runs is called: sent twice, it is done once."),
  upTo: z.string().describe("The newest run that is meant."),
  count: z.int(),
});
export type Counted = z.output<typeof Counted>;

export const Progress = z.object({
  done: z.int().optional(),
  of: z.int(),
  finished: z.boolean().optional(),
  problem: z.string().optional().describe("Why it was broken off."),
});
export type Progress = z.output<typeof Progress>;

/** As it was published; `data.log` is left out for those who may not read logs. */
const CloudEvent = z
  .looseObject({
    specversion: z.literal("1.0"),
    id: z.string(),
    source: z.string(),
    type: z.string(),
    subject: z.string(),
    time: z.string(),
    sequence: z.string().describe("The event's number in the run's story, as ten digits."),
    data: Values,
  })
  .meta({
    id: "Event",
    description: "An event of a run, as it was published. Its log is left out for those who may not read it.",
  });

export const Story = z.object({
  events: z.array(CloudEvent).readonly().describe("In order and without a gap."),
  after: z.string().optional().describe("The parameter `after` of the next page; absent on the last."),
});
export type Story = z.output<typeof Story>;

export const News = z.object({
  events: z.array(CloudEvent).readonly().describe("Empty if the time passed without one."),
  after: z.string().describe("The parameter `after` of the next question."),
  resync: z
    .boolean()
    .optional()
    .describe("True if the place is not one of this server: read anew what is true now, and go on from `after`."),
});
export type News = z.output<typeof News>;

export const Request = z.object({
  request: Values.describe("The request that the run was made of. It holds no secret value."),
  withheld: z.array(z.string()).readonly().describe("Paths whose values only those see who may operate."),
});

const PathProblem = FieldProblem.extend({ code: z.string() });

export const RefusedRows = z.object({
  rows: z.array(
    z.object({
      atMs: milliseconds("When it was refused"),
      run: z.string().optional().describe("Absent if it could not be read."),
      message: z.string().describe("The id of the message that was refused."),
      problems: z.array(PathProblem),
    }),
  ),
  before: z.string().optional().describe("The parameter `before` of the next page; absent on the last."),
});
export type RefusedRows = z.output<typeof RefusedRows>;

export const Checked = z.union([
  z.object({ kind: z.literal("refused"), problems: z.array(PathProblem).readonly() }),
  z.object({
    kind: z.literal("taken"),
    type: z.string(),
    run: z.string().optional(),
    group: z.string().optional(),
    definition: z.string().optional(),
    steps: z
      .array(z.object({ name: z.string(), image: z.string().optional() }))
      .readonly()
      .describe("What would run. Empty for a command about a run or a group that is there."),
  }),
]);
export type Checked = z.output<typeof Checked>;
