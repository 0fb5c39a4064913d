/** The programs of `longshore up`: their settings, and how they run together in one process. */
import { ROLE_NAMES } from "@longshore/contract/access-rule.ts";
import { ConsoleConfig } from "@longshore/console/config.ts";
import type { OnListening } from "@longshore/console/main.ts";
import { LauncherConfig } from "@longshore/launcher/config.ts";
import { RecorderConfig, type SinksFile } from "@longshore/recorder/config.ts";
import { readConfig } from "@longshore/runtime/config/config.ts";
import { together } from "@longshore/runtime/loop.ts";
import { WatcherConfig } from "@longshore/watcher/config.ts";
import { screenIn, type Surroundings } from "../command.ts";
import { withoutUrls } from "./named-urls.ts";
import { onStderr, programLog } from "./program-log.ts";

/** Both programs read the same variables, so each must accept the other's settings. */
export function readConfigs(
  files: { readonly launcher: string; readonly watcher: string },
  surroundings: Pick<Surroundings, "env">,
) {
  const env = withoutUrls(surroundings.env);
  return {
    launcher: readConfig(LauncherConfig, { file: files.launcher, env, beside: [WatcherConfig] }),
    watcher: readConfig(WatcherConfig, { file: files.watcher, env, beside: [LauncherConfig] }),
  };
}

export const recorderConfig = (
  { sinks, addresses }: SinksFile,
  ledgerUrl: string,
  { installation, log }: LauncherConfig,
): RecorderConfig => ({
  ...RecorderConfig.parse({ installation, ledger: { url: ledgerUrl }, http: { listen: "127.0.0.1:0" } }),
  log,
  sinks,
  addresses,
});

/** As many consoles as a machine may have folders with a Longshore in them. */
const CONSOLE_PORTS = 20;

/** The console of a Longshore on this machine. Without other rules, a link says in which role it signs in. */
export const consoleConfig = (
  { installation, log, logKeyFile }: Pick<LauncherConfig, "installation" | "log" | "logKeyFile">,
  {
    brokerUrl,
    ledgerUrl,
    access = ROLE_NAMES.map((role) => ({ who: { team: role }, may: [role] })),
  }: { readonly brokerUrl: string; readonly ledgerUrl: string; readonly access?: ConsoleConfig["access"] | undefined },
): ConsoleConfig => ({
  ...ConsoleConfig.parse({
    installation,
    broker: { url: brokerUrl },
    ledger: { url: ledgerUrl },
    access,
    http: { ports: CONSOLE_PORTS, health: "127.0.0.1:0" },
  }),
  log,
  logKeyFile,
});

interface Served extends ReturnType<typeof readConfigs> {
  readonly recorder: RecorderConfig | undefined;
  readonly console: ConsoleConfig | undefined;
  readonly onListening: OnListening;
}

/** Loads the programs only here: else each command would load them, a fifth of all its modules. */
export async function serve(
  configs: Served,
  where: string,
  surroundings: Pick<Surroundings, "signal" | "screen">,
): Promise<number> {
  const place = onStderr(screenIn(surroundings), where);
  const { recorder: telling, console: page, onListening } = configs;
  const { launcher } = await import("@longshore/launcher/main.ts");
  const { watcher } = await import("@longshore/watcher/main.ts");
  const { recorder } = await import("@longshore/recorder/main.ts");
  await together(surroundings.signal, {
    launcher: async (signal) =>
      void (await launcher(configs.launcher, programLog("launcher", configs.launcher.log, place), signal)),
    watcher: async (signal) => void (await watcher(configs.watcher, programLog("watcher", configs.watcher.log, place), signal)),
    ...(telling && {
      recorder: async (signal: AbortSignal) => void (await recorder(telling, programLog("recorder", telling.log, place), signal)),
    }),
    ...(page && {
      console: async (signal: AbortSignal) => {
        const { webConsole } = await import("@longshore/console/main.ts");
        await webConsole(page, programLog("console", page.log, place), signal, onListening);
      },
    }),
  });
  return 0;
}
