/** The recorder's settings. config/recorder.yaml shows every field; with an unknown field the recorder does not start. */
import { EVENTS } from "@longshore/contract/messages/event.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { nearest } from "@longshore/contract/problems/schema-problems.ts";
import { Duration, durationMs } from "@longshore/contract/units.ts";
import { oneSecret, readableFile, secretFile, secretSetting } from "@longshore/runtime/config/secret-settings.ts";
import { isNetwork } from "@longshore/runtime/networks.ts";
import { programSettings } from "@longshore/runtime/program.ts";
import { z } from "zod";
import { EVENT_NAMES, expressionProblems, piecesIn, type Rule, urlProblem } from "./rules.ts";
import { signingKeysProblem } from "./sign.ts";

const duration = Duration.meta({ written: "duration" }).transform((text) => durationMs(text) ?? 0);

const RUN_EVENTS = Object.keys(EVENTS).filter((it) => it.startsWith("run."));

const EventPattern = z.string().superRefine((text, context) => {
  if (RUN_EVENTS.includes(text) || (text.endsWith(".*") && RUN_EVENTS.some((it) => it.startsWith(text.slice(0, -1))))) return;
  const meant = nearest(text, RUN_EVENTS);
  const hint = meant === undefined ? `these are: ${RUN_EVENTS.join(", ")}, and run.*` : `did you mean "${meant}"?`;
  context.addIssue(`is no event of a run; ${hint}`);
});

const Pattern = z
  .union([z.string(), z.number(), z.boolean(), z.null()])
  .refine((it) => typeof it !== "string" || new Set(piecesIn(it)).size === piecesIn(it).length, "names a piece twice");
const MatchPath = z
  .string()
  .refine((path) => EVENT_NAMES.some((it) => it === path || (it === "data" && path.startsWith("data."))), {
    error: `is no value of an event; there are ${EVENT_NAMES.join(", ")}, and of data its fields, such as data.step`,
  });

/** Headers that make the request itself, or its signature. */
const OURS = /^(host|connection|content-length|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.*|webhook-.*)$/;
const HeaderName = z
  .string()
  .regex(/^[a-z0-9!#$%&'*+.^_`|~-]+$/, "is no header's name in small letters")
  .refine((name) => !OURS.test(name), "is a header that the recorder writes itself");

const SinkRule = z
  .strictObject({
    on: z.array(EventPattern).min(1),
    match: z.record(MatchPath, z.union([Pattern, z.array(Pattern).min(1)])).default({}),
    method: z.enum(["POST", "PUT", "PATCH", "DELETE"]).default("POST"),
    url: z.string().superRefine((url, context) => {
      const problem = urlProblem(url);
      if (problem !== undefined) context.addIssue(problem);
    }),
    headers: z.record(HeaderName, z.string()).default({}),
    body: z.json().optional(),
  })
  .superRefine((rule, context) => {
    for (const problem of expressionProblems(rule as Rule)) context.addIssue(problem);
  });

/** A text, or a file that is read for each request: a token in it may be changed at any time. `before` stands before it. */
const SinkHeader = z.union([
  z.string().regex(/^[\x20-\x7e]*$/, "is no printable ASCII"),
  z.strictObject({ valueFile: readableFile(), before: z.string().default("") }),
]);

const TIMEOUT_MOST_MS = 60_000;

const Sink = z.strictObject({
  rules: z.array(SinkRule).min(1).max(200),
  /** Of all its requests. */
  headers: z.record(HeaderName, SinkHeader).default({}),
  signingKeysFile: secretFile()
    .superRefine((keys, context) => {
      const problem = signingKeysProblem(keys.reveal());
      if (problem !== undefined) context.addIssue(problem);
    })
    .optional(),
  /** The authority of its certificate, if the machine's own list does not have it. */
  caFile: secretFile().optional(),
  timeout: duration.refine((ms) => ms >= 100 && ms <= TIMEOUT_MOST_MS, "is 100ms to 60s").default(10_000),
  inFlight: z.int().min(1).max(100).default(8),
});
export type SinkConfig = z.output<typeof Sink>;

const SinkName = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "a sink's name has small letters, digits and -");

const sinkSettings = {
  sinks: z.record(SinkName, Sink).default({}),
  addresses: z
    .strictObject({ allow: z.array(z.string().refine(isNetwork, "is no network; write 10.2.0.0/16")).default([]) })
    .prefault({}),
};

/** For tests, which cannot wait as long as real sinks need. */
const Pace = z.strictObject({
  poll: duration.default(1_000),
  lease: duration.refine((ms) => ms >= 500, "is 500ms or more").optional(),
  giveUpAfter: duration.default(72 * 3_600_000),
});

const Settings = z.strictObject({
  ...programSettings,
  installation: Installation,
  ledger: z.strictObject({ ...secretSetting("url") }).check(oneSecret("url")),
  ...sinkSettings,
  http: z.strictObject({ listen: z.string().default("127.0.0.1:9092") }).prefault({}),
  pace: Pace.prefault({}),
  failpoint: z.string().meta({ written: "text, for tests alone", isForTests: true }).optional(),
});
/** A recorder begins no request that could outlast its hold on the sink, so that no other sends one of the same run meanwhile. */
export const RecorderConfig = Settings.superRefine(({ sinks, pace: { lease } }, context) => {
  for (const [name, { timeout }] of Object.entries(sinks))
    if (lease !== undefined && lease < 2 * timeout)
      context.addIssue({
        code: "custom",
        path: ["pace", "lease"],
        message: `is less than twice the timeout of the sink ${name}`,
      });
});
export type RecorderConfig = z.output<typeof RecorderConfig>;

const other = z.unknown().optional();

/** What `longshore up --sinks FILE` reads of the same file: it has its own ledger. */
export const SinksFile = z.strictObject({
  ...sinkSettings,
  ...{ installation: other, ledger: other, http: other, log: other, pace: other },
});
export type SinksFile = z.output<typeof SinksFile>;
