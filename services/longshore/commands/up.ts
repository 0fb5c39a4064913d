/**
 * `longshore up`: launcher and watcher in this process, with a Postgres, broker and cluster of its own unless others are named.
 */
import { Installation } from "@longshore/contract/ids.ts";
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
import { command, fileAt, type Surroundings, Usage } from "../command.ts";
import { INSTALLATION, pocketIn, postgresIn, writeConfig } from "../embedded/home.ts";
import { realCluster } from "../embedded/real-cluster.ts";
import { dataDirIn, claimHome, writeRunning } from "../which-longshore.ts";
import { span } from "../terminal.ts";

export const up = command({
  name: "up",
  summary: "a whole Longshore in this process, on embedded defaults or your broker and cluster",
  usage: [
    "[--broker URL] [--ledger URL] [--data DIR]",
    "--kubeconfig FILE [--context NAME] [--namespace NAME] [--allow-programs] [...]",
  ],
  options: {
    broker: {
      type: "string",
      value: "URL",
      about: `${BROKERS.map((it) => it.example).join(", ")} (default: kept in the ledger)`,
    },
    ledger: {
      type: "string",
      value: "URL",
      about: "postgres://user:password@host/database (default: a Postgres of its own in the data folder)",
    },
    kubeconfig: {
      type: "string",
      value: "FILE",
      about:
        "a real cluster (default: the pocket cluster, which runs commands as local processes, pulls no images and isolates nothing)",
    },
    context: { type: "string", value: "NAME", about: "a context of the file (default: the file's current context)" },
    namespace: {
      type: "string",
      value: "NAME",
      about: "the namespace in which Jobs are created (default: the one that the context names)",
    },
    "allow-programs": {
      type: "boolean",
      about: "run the program that the file names for its login (exec: EKS, GKE, AKS); only for a file you trust",
    },
    data: { type: "string", value: "DIR", about: "where the data is (default: .longshore in this folder)" },
  },
  more: `
It runs until Ctrl-C. Other commands that run from the same folder find this Longshore: longshore publish, runs, doctor.`,
  async run(values, _, surroundings) {
    const { broker, ledger, kubeconfig, context, namespace, data, "allow-programs": allowPrograms = false } = values;
    checkUrls({ broker, ledger });
    if (kubeconfig === undefined) refuseOfRealCluster({ context, namespace, "allow-programs": allowPrograms });
    const home = data === undefined ? dataDirIn(surroundings.cwd) : fileAt(data, surroundings);
    const file = kubeconfig === undefined ? undefined : fileAt(kubeconfig, surroundings);
    const real =
      file === undefined
        ? undefined
        : await realCluster({ kubeconfig: file, context, namespace, allowPrograms }, surroundings.signal);
    await using _claim = await claimHome(home);

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
    // The other commands look into .longshore of their folder, so that another data folder has to be named.
    const config = data === undefined ? "" : ` --config ${files.launcher}`;
    surroundings.out(
      `  up. In another terminal, from this folder:\n    npm run longshore -- publish${config} --image busybox --follow -- sh -c 'echo hi'\n    npm run longshore -- runs list${config}\n  Ctrl-C stops it. Runs stay recorded; a command that then runs in the pocket cluster is ended, and its run told as such.\n`,
    );
    const ended = await serve(configs, surroundings);
    const left = cluster.running?.() ?? 0;
    if (left > 0) surroundings.out(endsCommands(left));
    return ended;
  },
});

/** An option for a cluster that nobody named would be ignored, and its Jobs would run as processes of this machine. */
function refuseOfRealCluster(given: Readonly<Record<string, string | boolean | undefined>>): void {
  const [name] = Object.entries(given).find(([, value]) => value !== undefined && value !== false) ?? [];
  if (name !== undefined)
    throw new Usage(
      `--${name} is about a real cluster: name its file with --kubeconfig FILE; without it, runs are local processes`,
    );
}

const endsCommands = (count: number): string =>
  `  ${count} ${count === 1 ? "command" : "commands"} of the pocket cluster still ran, and will end now (LocalStop). The next start tells it; after that, longshore runs restart RUN goes on.\n`;

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
