/** The console's settings. config/console.yaml shows every field; with an unknown field the console does not start. */
import { brokerSettings } from "@longshore/broker/settings.ts";
import { AccessRule } from "@longshore/contract/access-rule.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { oneSecret, sealKeys, secretSetting } from "@longshore/runtime/config/secret-settings.ts";
import { programSettings } from "@longshore/runtime/program.ts";
import { z } from "zod";

export const ConsoleConfig = z.strictObject({
  ...programSettings,
  installation: Installation,
  broker: brokerSettings(),
  ledger: z.strictObject({ ...secretSetting("url") }).check(oneSecret("url")),
  /** The watchers' key of logs. Without it, what a program prints is shown at its end. */
  logKeyFile: sealKeys().optional(),
  /** Without a rule, nobody may do anything. */
  access: z.array(AccessRule).default([]),
  http: z
    .strictObject({
      /** Loopback only: people sign in by a link that somebody on this machine makes. */
      listen: z
        .string()
        .regex(/^(127\.0\.0\.1|\[::1\]):\d+$/, "is not on this machine alone: write 127.0.0.1:7373")
        .default("127.0.0.1:7373"),
      /** The number of ports to try, from the port of `listen` on: other programs may listen there. */
      ports: z.int().min(1).max(100).default(1),
      health: z.string().default("127.0.0.1:9093"),
    })
    .prefault({}),
});
export type ConsoleConfig = z.output<typeof ConsoleConfig>;
