/** The watcher's settings. It has no ledger and no key for proofs. An unknown setting is refused at the start. */
import { brokerSettings } from "@longshore/broker/settings.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { oneOf, readableFile, sealKeys } from "@longshore/runtime/config/secret-settings.ts";
import { programSettings } from "@longshore/runtime/program.ts";
import { z } from "zod";

export const WatcherConfig = z
  .strictObject({
    ...programSettings,
    installation: Installation,
    broker: brokerSettings(),
    /** The groups stand in this file. Without it, launchers announce them, sealed with a key that both programs have. */
    groupsFile: readableFile().optional(),
    sealKeyFile: sealKeys().optional(),
    /** The console's key of logs. Without it, nobody is sent what programs print while they run. */
    logKeyFile: sealKeys().optional(),
    http: z.strictObject({ listen: z.string().default("127.0.0.1:9091") }).prefault({}),
    failpoint: z.string().meta({ written: "text, for tests alone", isForTests: true }).optional(),
  })
  .check(
    oneOf(
      "groupsFile",
      "sealKeyFile",
      "give groupsFile, or sealKeyFile (the launcher's) to learn the groups from what the launcher announces",
    ),
  );
export type WatcherConfig = z.output<typeof WatcherConfig>;
