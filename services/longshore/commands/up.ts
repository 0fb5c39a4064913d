/**
 * `longshore up`: launcher and watcher in this process, with a Postgres, broker and cluster of its own unless others are named.
 */
import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { Installation } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problem.ts";
import { LauncherConfig } from "@longshore/launcher/config.ts";
import { launcher } from "@longshore/launcher/main.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import { readGroups } from "@longshore/kubernetes/groups.ts";
import { BROKERS, openBroker } from "@longshore/broker/brokers.ts";
import { readConfig } from "@longshore/runtime/config/config.ts";
import { openLog, silentLog } from "@longshore/runtime/log.ts";
import { together } from "@longshore/runtime/loop.ts";
import { withoutCredentials } from "@longshore/runtime/config/secret.ts";
import { WatcherConfig } from "@longshore/watcher/config.ts";
import { watcher } from "@longshore/watcher/main.ts";
import { asUsage, type Command, type Surroundings, Usage } from "../command.ts";
import { HOME_MODE, INSTALLATION, pocketIn, postgresIn, writeConfig } from "../embedded/home.ts";
import { realCluster } from "../embedded/real-cluster.ts";
import { dataDirIn, readRunning, writeRunning } from "../which-longshore.ts";
import { span } from "../terminal.ts";

const HELP = `longshore up: a whole Longshore in this process, until Ctrl-C.

  longshore up [--broker URL] [--ledger URL] [--data DIR]
  longshore up --kubeconfig FILE [--context NAME] [--namespace NAME] [--allow-programs] [...]

  --broker URL       ${BROKERS.map((it) => it.example).join(",\n                     ")}
                     (default: kept in the ledger)
  --ledger URL       postgres://user:password@host/database (default: a Postgres of its own in the data folder)
  --kubeconfig FILE  a real cluster (default: the pocket cluster, which runs commands as local processes,
                     pulls no images and isolates nothing)
  --context NAME     a context of the file (default: the file's current context)
  --namespace NAME   the namespace in which Jobs are created (default: the one that the context names)
  --allow-programs   run the program that the file names for its login (exec: EKS, GKE, AKS); only for a file you trust
  --data DIR         default: .longshore in this folder

Other commands that run from the same folder find this Longshore: longshore publish, runs, doctor.
`;

export const up: Command = {
  summary: "a whole Longshore in this process, on embedded defaults or your broker and cluster",
  help: HELP,
  async run(args, surroundings) {
    const { broker, ledger, kubeconfig, context, namespace, data, ...flags } = options(args);
    checkUrls({ broker, ledger });
    const home = data === undefined ? dataDirIn(surroundings.cwd) : resolve(surroundings.cwd, data);
    const other = await readRunning(home);
    if (other !== undefined)
      throw new Failure(
        "halt",
        "AlreadyRunning",
        `a Longshore runs from ${home} already, as process ${other.pid}; stop it first, or give this one another --data DIR`,
      );

    const file = kubeconfig === undefined ? undefined : resolve(surroundings.cwd, kubeconfig);
    const allowPrograms = flags["allow-programs"] === true;
    const real =
      file === undefined
        ? undefined
        : await realCluster({ kubeconfig: file, context, namespace, allowPrograms }, surroundings.signal);
    await mkdir(home, { recursive: true, mode: HOME_MODE });

    surroundings.out("longshore up. Parts that were not named are started here, for this machine only.\n");
    await using postgres =
      ledger === undefined
        ? await started(surroundings, "ledger", "a Postgres of its own", () => postgresIn(home))
        : named(surroundings, "ledger", ledger);
    if (broker === undefined) surroundings.out("  broker   inside the ledger\n");
    const brokerUrl = broker ?? postgres.url;
    if (broker !== undefined) named(surroundings, "broker", broker);
    if (real !== undefined) surroundings.out(`  cluster  ${file}, namespace ${real.namespace}\n`);
    await using cluster =
      real ??
      (await started(surroundings, "cluster", "the pocket: commands as local processes, no images, no isolation", () =>
        pocketIn(home),
      ));

    const files = await writeConfig({ home, brokerUrl, ledgerUrl: postgres.url, cluster });
    const configs = readConfigs(files, surroundings);
    await tryOut({ brokerUrl, ledgerUrl: postgres.url, groupsFile: files.groups });
    await using _running = await writeRunning(home, {
      pid: process.pid,
      installation: Installation.parse(INSTALLATION),
      brokerUrl,
      ledgerUrl: postgres.url,
      groupsFile: files.groups,
    });
    if (broker === undefined) surroundings.out(WITHOUT_BROKER);
    surroundings.out(
      "  up. In another terminal, from this folder:\n    npm run longshore -- publish --image busybox --follow -- sh -c 'echo hi'\n    npm run longshore -- runs list\n  Ctrl-C stops it. Runs stay recorded; what runs in the pocket cluster ends with it.\n",
    );
    return await serve(configs, surroundings);
  },
};

/** The README's examples speak AMQP, and find nothing to speak to beside the embedded broker. */
const WITHOUT_BROKER = `  Applications publish over RabbitMQ or NATS. For them, such as the Python in README.md, stop this and start
    docker compose up -d rabbitmq   (or any RabbitMQ)
    npm start -- --broker amqp://longshore:longshore@127.0.0.1:5672
`;

/** A text that is no URL is not printed: its password could not be found and left out. */
function checkUrls(urls: Readonly<Record<string, string | undefined>>): void {
  for (const [name, url] of Object.entries(urls))
    if (url !== undefined && !URL.canParse(url))
      throw new Usage(
        `--${name} is no URL: it reads scheme://user:password@host:port/name; in user and password / is written %2F, @ %40, : %3A`,
      );
}

/** Opens each server once before "up" is printed, so that a wrong name is told in one sentence. */
async function tryOut({
  brokerUrl,
  ledgerUrl,
  groupsFile,
}: {
  readonly brokerUrl: string;
  readonly ledgerUrl: string;
  readonly groupsFile: string;
}): Promise<void> {
  const clock = systemClock;
  await using _groups = await readGroups(groupsFile, { credential: "launch", clock });
  const jobName = (): never => {
    throw new Error("nothing is begun while trying out");
  };
  const installation = Installation.parse(INSTALLATION);
  await using _ledger = await openLedger({ url: ledgerUrl, installation, jobName, migrate: true, log: silentLog });
  await using _broker = await openBroker({ url: brokerUrl, log: silentLog, clock });
}

/** Both programs read the same variables, so each must accept the other's settings. */
function readConfigs(files: { readonly launcher: string; readonly watcher: string }, { env }: Pick<Surroundings, "env">) {
  return {
    launcher: readConfig(LauncherConfig, { file: files.launcher, env, beside: [WatcherConfig] }),
    watcher: readConfig(WatcherConfig, { file: files.watcher, env, beside: [LauncherConfig] }),
  };
}

async function serve(configs: ReturnType<typeof readConfigs>, { signal }: Pick<Surroundings, "signal">): Promise<number> {
  await together(signal, {
    launcher: async (signal) => void (await launcher(configs.launcher, openLog("launcher", configs.launcher.log), signal)),
    watcher: async (signal) => void (await watcher(configs.watcher, openLog("watcher", configs.watcher.log), signal)),
  });
  return 0;
}

function options(args: readonly string[]) {
  const text = { type: "string" } as const;
  const named = { broker: text, ledger: text, kubeconfig: text, context: text, namespace: text, data: text };
  const options = { ...named, "allow-programs": { type: "boolean" } } as const;
  return asUsage(() => parseArgs({ args: [...args], options })).values;
}

export async function started<T>(
  { out }: Pick<Surroundings, "out">,
  name: string,
  what: string,
  start: () => Promise<T>,
): Promise<T> {
  const began = systemClock.now();
  const it = await start();
  out(`  ${name.padEnd(8)} ${what}, ready after ${span(systemClock.now() - began)}\n`);
  return it;
}

function named({ out }: Surroundings, name: string, url: string): AsyncDisposable & { readonly url: string } {
  out(`  ${name.padEnd(8)} ${withoutCredentials(url)}\n`);
  return { url, [Symbol.asyncDispose]: async () => {} };
}
