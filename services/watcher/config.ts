/** The watcher's settings: no ledger, no key of proofs. Unknown ones refuse to start. */
import { Installation } from "@longshore/contract/ids.ts";
import { oneOf, readableFile, sealKeys, serverSettings } from "@longshore/runtime/config/secret-settings.ts";
import { programSettings } from "@longshore/runtime/program.ts";
import { z } from "zod";

export const WatcherConfig = z
  .strictObject({
    ...programSettings,
    installation: Installation,
    broker: serverSettings(),
    /** Which groups there are: from this file, or else from what the launcher announces, sealed with a key that both hold. */
    groupsFile: readableFile().optional(),
    sealKeyFile: sealKeys().optional(),
    http: z.strictObject({ listen: z.string().default("127.0.0.1:9091") }).prefault({}),
    failpoint: z.string().optional(),
  })
  .check(
    oneOf(
      "groupsFile",
      "sealKeyFile",
      "give groupsFile, or sealKeyFile (the launcher's) to learn the groups from what the launcher announces",
    ),
  );
export type WatcherConfig = z.output<typeof WatcherConfig>;
