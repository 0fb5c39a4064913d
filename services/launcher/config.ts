/** The launcher's settings. config/launcher.yaml shows every field; with an unknown field the launcher does not start. */
import { brokerSettings } from "@longshore/broker/settings.ts";
import { DIAGNOSES } from "@longshore/contract/messages/diagnosis.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { RetryCause } from "@longshore/contract/request/request.ts";
import { Duration, durationMs } from "@longshore/contract/units.ts";
import { DEFAULTS } from "@longshore/domain/run/plan.ts";
import type { Limits } from "@longshore/domain/run/record.ts";
import { oneSecret, readableFile, sealKeys, secretFile, secretSetting } from "@longshore/runtime/config/secret-settings.ts";
import { programSettings } from "@longshore/runtime/program.ts";
import { z } from "zod";
import { KEY_BYTES_MIN } from "./keys.ts";
import { ANNOUNCE_MS, TIMING, type Timing } from "./timing.ts";

const duration = Duration.meta({ written: "duration" }).transform((text) => durationMs(text) ?? 0);
const codes = Object.keys(DIAGNOSES) as (keyof typeof DIAGNOSES)[];

const Defaults = z.strictObject({
  waitFor: duration.default(DEFAULTS.waitForMs),
  startWithin: duration.default(DEFAULTS.startWithinMs),
  deadline: duration.default(DEFAULTS.deadlineMs),
  giveUpAfter: z
    .partialRecord(z.enum(codes), duration)
    .transform((given) => ({ ...DEFAULTS.giveUpAfterMs, ...given }))
    .prefault({}),
  keepFor: z
    .strictObject({
      succeeded: duration.default(DEFAULTS.keepSucceededMs),
      failed: duration.default(DEFAULTS.keepFailedMs),
    })
    .prefault({}),
  retries: z
    .strictObject({
      max: z.int().min(0).max(20).default(DEFAULTS.retriesMax),
      on: z.array(RetryCause).default([...DEFAULTS.retriesOn]),
      backoff: z
        .strictObject({ first: duration.default(DEFAULTS.backoffFirstMs), most: duration.default(DEFAULTS.backoffMostMs) })
        .prefault({}),
    })
    .prefault({}),
});

/** For tests and demonstrations, which cannot wait as long as real clusters need. */
const Pace = z.strictObject({
  claim: duration.default(TIMING.claimMs),
  workLease: duration.default(TIMING.workLeaseMs),
  poll: duration.default(TIMING.pollMs),
  probe: duration.default(TIMING.probeMs),
  tally: duration.default(TIMING.tallyMs),
  partitionLease: duration.default(TIMING.partitionLeaseMs),
  announce: duration.default(ANNOUNCE_MS),
});

export const LauncherConfig = z.strictObject({
  ...programSettings,
  installation: Installation,
  broker: brokerSettings(),
  ledger: z
    .strictObject({
      ...secretSetting("url"),
      keyFile: secretFile().refine(
        (key) => Buffer.byteLength(key.reveal()) >= KEY_BYTES_MIN,
        `holds fewer than ${KEY_BYTES_MIN} bytes, which could be guessed; make one with: openssl rand -base64 48`,
      ),
      migrate: z.boolean().default(true),
    })
    .check(oneSecret("url")),
  groupsFile: readableFile(),
  /** A folder of definitions, one in each .yaml file: what requests may name. */
  definitionsDir: readableFile().meta({ written: "folder" }).optional(),
  /**
   * With a seal key, the launcher announces its groups to watchers without a groups file: each group's watch credential,
   * sealed.
   */
  sealKeyFile: sealKeys().optional(),
  /** For `longshore runs logs`, where a cluster cannot be reached from here: the watchers' key of logs. The launcher reads no log. */
  logKeyFile: sealKeys().optional(),
  http: z.strictObject({ listen: z.string().default("127.0.0.1:9090") }).prefault({}),
  defaults: Defaults.prefault({}),
  /** Broker users who may abandon runs, and who may name the person behind a command. */
  operators: z.union([z.literal("everyone"), z.array(z.string().min(1).max(255)).max(1000)]).default([]),
  /** How many messages of each queue are worked on at the same time; also the most items in one transaction. */
  inFlight: z.int().min(1).max(1000).default(128),
  pace: Pace.prefault({}),
  failpoint: z.string().meta({ written: "text, for tests alone", isForTests: true }).optional(),
});
export type LauncherConfig = z.output<typeof LauncherConfig>;

export function limitsIn({ waitFor, startWithin, deadline, giveUpAfter, keepFor, retries }: LauncherConfig["defaults"]): Limits {
  return {
    waitForMs: waitFor,
    startWithinMs: startWithin,
    deadlineMs: deadline,
    retriesMax: retries.max,
    retriesOn: retries.on,
    backoffFirstMs: retries.backoff.first,
    backoffMostMs: retries.backoff.most,
    keepSucceededMs: keepFor.succeeded,
    keepFailedMs: keepFor.failed,
    giveUpAfterMs: giveUpAfter,
  };
}

export function timingIn({ claim, workLease, poll, probe, tally, partitionLease }: LauncherConfig["pace"]): Timing {
  return {
    ...TIMING,
    claimMs: claim,
    workLeaseMs: workLease,
    pollMs: poll,
    lookMs: Math.max(TIMING.lookMs, poll),
    placeAgainMs: poll * (TIMING.placeAgainMs / TIMING.pollMs),
    probeMs: probe,
    tallyMs: tally,
    partitionLeaseMs: partitionLease,
  };
}
