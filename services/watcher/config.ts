/** The watcher's settings: no ledger, no key. Unknown ones refuse to start. */
import { Installation } from "@longshore/contract/ids.ts";
import { oneSecret, readableFile, secretSetting } from "@longshore/runtime/config-secrets.ts";
import { programSettings } from "@longshore/runtime/program.ts";
import { z } from "zod";

export const WatcherConfig = z.strictObject({
  ...programSettings,
  installation: Installation,
  broker: z
    .strictObject({ ...secretSetting("url"), ...secretSetting("user"), ...secretSetting("password") })
    .check(oneSecret("url")),
  groupsFile: readableFile(),
  http: z.strictObject({ listen: z.string().default("127.0.0.1:9091") }).prefault({}),
  failpoint: z.string().optional(),
});
export type WatcherConfig = z.output<typeof WatcherConfig>;
