/** The launcher's settings. Every field is in config/launcher.yaml; unknown ones refuse to start. */
import { brokerSettings } from "@longshore/broker/settings.ts";
import { DIAGNOSES } from "@longshore/contract/diagnosis.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { RetryCause } from "@longshore/contract/request.ts";
import { Duration, durationMs } from "@longshore/contract/units.ts";
import { DEFAULTS } from "@longshore/domain/run/plan.ts";
import type { Limits } from "@longshore/domain/run/record.ts";
import { oneSecret, readableFile, sealKeys, secretFile, secretSetting } from "@longshore/runtime/config/secret-settings.ts";
import { programSettings } from "@longshore/runtime/program.ts";
import { z } from "zod";
import { KEY_BYTES_MIN } from "./keys.ts";
import { TIMING, type Timing } from "./timing.ts";

const duration = Duration.transform((text) => durationMs(text) ?? 0);
const codes = Object.keys(DIAGNOSES) as (keyof typeof DIAGNOSES)[];

const Defaults = z.strictObject({
  waitFor: duration.optional(),
  startWithin: duration.optional(),
  deadline: duration.optional(),
  giveUpAfter: z.partialRecord(z.enum(codes), duration).optional(),
  keepFor: z.strictObject({ succeeded: duration.optional(), failed: duration.optional() }).optional(),
  retries: z
    .strictObject({
      max: z.int().min(0).max(20).optional(),
      on: z.array(RetryCause).optional(),
      backoff: z.strictObject({ first: duration.optional(), most: duration.optional() }).optional(),
    })
    .optional(),
});

/** For tests and demonstrations, which cannot wait as long as real clusters need. */
const Pace = z.strictObject({
  claim: duration.optional(),
  workLease: duration.optional(),
  poll: duration.optional(),
  probe: duration.optional(),
  tally: duration.optional(),
  partitionLease: duration.optional(),
  announce: duration.optional(),
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
  /**
   * With a seal key, the launcher announces its groups to watchers without a groups file: each group's watch credential,
   * sealed.
   */
  sealKeyFile: sealKeys().optional(),
  http: z.strictObject({ listen: z.string().default("127.0.0.1:9090") }).prefault({}),
  defaults: Defaults.prefault({}),
  /** Broker users who may abandon runs, and who may say which person stands behind a command. */
  operators: z.union([z.literal("everyone"), z.array(z.string().min(1).max(255)).max(1000)]).default([]),
  /** Most messages of each queue in work at the same time, and most items in one transaction. */
  inFlight: z.int().min(1).max(1000).default(128),
  pace: Pace.prefault({}),
  failpoint: z.string().optional(),
});
export type LauncherConfig = z.output<typeof LauncherConfig>;

export function limitsIn({ waitFor, startWithin, deadline, giveUpAfter, keepFor, retries }: LauncherConfig["defaults"]): Limits {
  return {
    waitForMs: waitFor ?? DEFAULTS.waitForMs,
    startWithinMs: startWithin ?? DEFAULTS.startWithinMs,
    deadlineMs: deadline ?? DEFAULTS.deadlineMs,
    retriesMax: retries?.max ?? DEFAULTS.retriesMax,
    retriesOn: retries?.on ?? DEFAULTS.retriesOn,
    backoffFirstMs: retries?.backoff?.first ?? DEFAULTS.backoffFirstMs,
    backoffMostMs: retries?.backoff?.most ?? DEFAULTS.backoffMostMs,
    keepSucceededMs: keepFor?.succeeded ?? DEFAULTS.keepSucceededMs,
    keepFailedMs: keepFor?.failed ?? DEFAULTS.keepFailedMs,
    giveUpAfterMs: { ...DEFAULTS.giveUpAfterMs, ...giveUpAfter },
  };
}

export function timingIn({ claim, workLease: hold, poll, probe, tally, partitionLease: lease }: LauncherConfig["pace"]): Timing {
  return {
    ...TIMING,
    claimMs: claim ?? TIMING.claimMs,
    workLeaseMs: hold ?? TIMING.workLeaseMs,
    pollMs: poll ?? TIMING.pollMs,
    lookMs: Math.max(TIMING.lookMs, poll ?? 0),
    placeAgainMs: poll === undefined ? TIMING.placeAgainMs : poll * 5,
    probeMs: probe ?? TIMING.probeMs,
    tallyMs: tally ?? TIMING.tallyMs,
    partitionLeaseMs: lease ?? TIMING.partitionLeaseMs,
  };
}
