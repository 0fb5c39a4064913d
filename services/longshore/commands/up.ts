/**
 * `longshore up`: launcher, watcher and web console in this process, with a Postgres, broker and cluster of its own unless others are named;
 * and a recorder, if there is somebody to tell.
 */
import { Installation } from "@longshore/contract/ids.ts";
import { ConsoleConfig } from "@longshore/console/config.ts";
import type { OnListening } from "@longshore/console/main.ts";
import { newLink } from "@longshore/console/sign-in/tokens.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import { readGroups } from "@longshore/kubernetes/groups.ts";
import { BROKERS, openBroker } from "@longshore/broker/brokers.ts";
import { readConfig } from "@longshore/runtime/config/config.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { withoutCredentials } from "@longshore/runtime/config/secret.ts";
import { SinksFile } from "@longshore/recorder/config.ts";
import { command, configWords, during, fileAt, say, screenIn, type Surroundings, Usage } from "../command.ts";
import {
  brokerBefore,
  INSIDE,
  isSameBroker,
  leftBehind,
  type Left,
  noteStart,
  otherBrokerLines,
  refuseOtherBroker,
  startCommand,
  withoutUser,
} from "../embedded/earlier-starts.ts";
import {
  BROKER_FILE,
  type ClusterChoice,
  INSTALLATION,
  LEDGER_FILE,
  OWN_CLUSTER,
  pocketIn,
  postgresIn,
  writeConfig,
} from "../embedded/home.ts";
import { HIDDEN_URLS, urlNamed } from "../embedded/named-urls.ts";
import { consoleConfig, readConfigs, recorderConfig, serve } from "../embedded/programs.ts";
import { type Named, realCluster } from "../embedded/real-cluster.ts";
import { dataDirIn, lockHome, writeRunning } from "../which-longshore.ts";
import { definitionsOf, examplesDir } from "./definitions.ts";
import { person, sayLink } from "./link.ts";
import { paragraph, row, whole } from "../screen/rows.ts";
import type { Screen } from "../screen/screen.ts";
import { span } from "../screen/times.ts";

export const up = command({
  name: "up",
  summary: "a whole Longshore in this process, on embedded defaults or your broker and cluster",
  usage: [
    "[--broker URL] [--ledger URL] [--sinks FILE] [--console FILE] [--data DIR]",
    "--kubeconfig FILE [--context NAME] [--namespace NAME] [--allow-programs] [...]",
  ],
  options: {
    broker: {
      type: "string",
      value: "URL",
      about: `${BROKERS.map((it) => it.example).join(", ")} (default: kept in the ledger)`,
    },
    "other-broker": {
      type: "boolean",
      about: "start although runs of another broker are not over: their ends are then told at this one",
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
    definitions: {
      type: "string",
      value: "DIR",
      about: "a folder of definitions, one in each .yaml file (default: config/definitions in this folder, if it is there)",
    },
    sinks: {
      type: "string",
      value: "FILE",
      about:
        "a recorder's config file (config/recorder.yaml): its sinks are told of the runs; of the rest only addresses is read",
    },
    console: {
      type: "string",
      value: "FILE",
      about: "a console's config file (config/console.yaml): its access rules are used; of the rest nothing is read",
    },
    "no-console": {
      type: "boolean",
      about: "start no web console (else it listens on this machine alone: 127.0.0.1:7373, or the next free port)",
    },
    data: {
      type: "string",
      value: "DIR",
      about: "where the data is (default: .longshore in this folder); other commands then need --config DIR/launcher.yaml",
    },
  },
  more: `
It runs until Ctrl-C. Other commands that run from the same folder find this Longshore: longshore publish, runs, doctor.

${HIDDEN_URLS}`,
  async run(values, _, surroundings) {
    const { kubeconfig, context, namespace, data, "allow-programs": allowPrograms = false } = values;
    const broker = await urlNamed("broker", values.broker, surroundings);
    const ledger = await urlNamed("ledger", values.ledger, surroundings);
    const access = values.console === undefined ? undefined : rulesIn(fileAt(values.console, surroundings));
    const told = values.sinks === undefined ? undefined : sinksIn(fileAt(values.sinks, surroundings));
    if (kubeconfig === undefined) refuseOfRealCluster({ context, namespace, "allow-programs": allowPrograms });
    const definitionsDir =
      (await definitionsOf(values.definitions, surroundings)) ?? (kubeconfig === undefined ? examplesDir() : undefined);
    const home = data === undefined ? dataDirIn(surroundings.cwd) : fileAt(data, surroundings);
    const file = kubeconfig === undefined ? undefined : fileAt(kubeconfig, surroundings);
    const options = { kubeconfig: file ?? "", context, namespace, allowPrograms };
    const real =
      file === undefined
        ? undefined
        : await during(surroundings, `asking the cluster of ${file}`, () => realCluster(options, surroundings.signal));
    await using _claim = await lockHome(home);

    const screen = screenIn(surroundings);
    say(
      surroundings,
      paragraph("longshore up. What you name no address for starts in this folder: only this machine reaches it.", {}, screen),
    );
    if (broker !== undefined) await during(surroundings, "asking the broker", () => tryBroker(broker));
    await using postgres =
      ledger === undefined
        ? await started(surroundings, "ledger", "a Postgres of its own", () => postgresIn(home))
        : given(surroundings, "ledger", ledger);
    if (broker === undefined) say(surroundings, partLine("broker", "inside the ledger", screen));
    const brokerUrl = broker ?? postgres.url;
    if (broker !== undefined) given(surroundings, "broker", broker);
    const before = await brokerBefore({ home, brokerFile: BROKER_FILE, ledgerFile: LEDGER_FILE });
    if (before !== undefined && !isSameBroker(before, broker ?? INSIDE)) {
      const refuse = async (it: Ledger) => await refuseOtherBroker(it, { before, isMeant: values["other-broker"] === true });
      await during(surroundings, "asking the ledger", () => withLedger(postgres.url, refuse));
      say(surroundings, otherBrokerLines(before, screen));
    }
    if (real !== undefined) say(surroundings, partLine("cluster", `${file}, namespace ${real.namespace}`, screen));
    await using cluster =
      real ??
      (await started(surroundings, "cluster", "the pocket: commands as local processes, no images, no isolation", () =>
        pocketIn(home),
      ));
    if (cluster.found !== undefined) say(surroundings, foundLines(cluster.found, screen));

    const files = await writeConfig({
      home,
      brokerUrl,
      ledgerUrl: postgres.url,
      cluster,
      policy: OWN_CLUSTER,
      log: { level: "warn" },
      ...(definitionsDir !== undefined && { launcher: { definitionsDir } }),
    });
    const configs = readConfigs(files, surroundings);
    const telling = told && recorderConfig(told, postgres.url, configs.launcher);
    if (telling) say(surroundings, partLine("sinks", Object.keys(telling.sinks).join(", "), screen));
    const left = await during(surroundings, "preparing the ledger and the broker", () =>
      tryOut({
        brokerUrl,
        ledgerUrl: postgres.url,
        groupsFile: files.groups,
        serves: cluster.name,
        isOwnLedger: ledger === undefined,
      }),
    );
    const starts = await noteStart(home, cluster.name, real === undefined ? [] : clusterOptions(options));
    const others = [
      ...optionOf("broker", values.broker),
      ...optionOf("ledger", values.ledger),
      ...(values.sinks === undefined ? [] : ["--sinks", fileAt(values.sinks, surroundings)]),
      ...(values.console === undefined ? [] : ["--console", fileAt(values.console, surroundings)]),
      ...(data === undefined ? [] : ["--data", home]),
      ...(values.definitions === undefined ? [] : ["--definitions", definitionsDir ?? ""]),
    ];
    const commandFor = (options: readonly string[]) => startCommand([...options, ...others]);
    const running = {
      pid: process.pid,
      installation: Installation.parse(INSTALLATION),
      brokerUrl,
      ledgerUrl: postgres.url,
      groupsFile: files.groups,
      definitionsDir,
      toServe: Object.fromEntries(Object.entries(starts).map(([group, options]) => [group, commandFor(options)])),
    };
    await using _running = await writeRunning(home, running);
    // The other commands look into .longshore of their folder, so that another data folder has to be named.
    const config = data === undefined ? "" : configWords(files.launcher);
    for (const it of left)
      say(surroundings, leftLines(it, { toServe: starts[it.group] && commandFor(starts[it.group] ?? []), config }, screen));
    const after =
      real === undefined
        ? "commands that still run in the pocket cluster are ended, and their runs fail (LocalStop)"
        : "their Jobs go on in the cluster";
    say(surroundings, [
      "",
      ...paragraph("up. In another terminal, from this folder:", { indent: 2, tone: "strong" }, screen),
      whole(`npm run longshore -- publish${config} --image busybox --follow -- sh -c 'echo hi'`, 4),
      whole(`npm run longshore -- runs list${config}`, 4),
      ...paragraph(
        "`runs list` and `runs follow` show what runs and what has ended; here stands only what fails, is refused or waits for you.",
        { indent: 2 },
        screen,
      ),
      ...paragraph(`Ctrl-C stops it. Runs stay recorded; ${after}.`, { indent: 2 }, screen),
    ]);
    const page =
      values["no-console"] === true ? undefined : consoleConfig(configs.launcher, { brokerUrl, ledgerUrl: postgres.url, access });
    const onListening: OnListening = async ({ url, pages }) => {
      await writeRunning(home, { ...running, console: url });
      sayLink(await newLink(pages.signIns, url, person()), config, surroundings);
    };
    const ended = await serve({ ...configs, recorder: telling, console: page, onListening }, config, surroundings);
    say(surroundings, stopLines(cluster.running?.() ?? [], { config, startAgain: commandFor([]) }, screen));
    return ended;
  },
});

const NAMED_MOST = 5;

function named(runs: readonly string[]): string {
  const more = runs.length - NAMED_MOST;
  return runs.slice(0, NAMED_MOST).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

const commands = (count: number): string => `${count} ${count === 1 ? "command" : "commands"}`;

/** Only the pocket has commands that end with us: its cluster is named by no option. */
function stopLines(
  running: readonly string[],
  { config, startAgain }: { readonly config: string; readonly startAgain: string },
  screen: Screen,
): readonly string[] {
  const [first] = running;
  if (first === undefined) return paragraph("stopped", { indent: 2 }, screen);
  const [are, each, again] = running.length === 1 ? ["is", "the run", first] : ["are", "each run", "RUN"];
  const what = `stopped. ${commands(running.length)} still ran and ${are} ended now: ${named(running)}. The next start (\`${startAgain}\`) ends ${each} as failed (LocalStop), or tries it again if it asked for retries. Then this runs it again:`;
  return [...paragraph(what, { indent: 2 }, screen), whole(`npx longshore runs restart ${again}${config}`, 4)];
}

/** Says what a start finds that comes after a kill, or after a stop while a pod was being removed. */
function foundLines({ goOn, ended }: NonNullable<ClusterChoice["found"]>, screen: Screen): readonly string[] {
  if (goOn.length + ended.length === 0) return [];
  const parts = [
    ...(goOn.length > 0
      ? [`${commands(goOn.length)} still ${goOn.length === 1 ? "runs and is" : "run and are"} taken up (${named(goOn)})`]
      : []),
    ...(ended.length > 0 ? [`${commands(ended.length)} ended meanwhile (${named(ended)})`] : []),
  ];
  return paragraph(`left by the last start: ${parts.join("; ")}`, { indent: 2 }, screen);
}

/** The options that name this cluster. */
const clusterOptions = ({ kubeconfig, context, namespace, allowPrograms }: Named): readonly string[] => [
  "--kubeconfig",
  kubeconfig,
  ...(context === undefined ? [] : ["--context", context]),
  ...(namespace === undefined ? [] : ["--namespace", namespace]),
  ...(allowPrograms ? ["--allow-programs"] : []),
];

const optionOf = (name: string, url: string | undefined): readonly string[] =>
  url === undefined ? [] : [`--${name}`, withoutUser(url)];

/** Says which runs nobody acts on as long as this start lasts, and what a person can do. */
function leftLines(
  { group, runs, more }: Left,
  { toServe, config }: { readonly toServe: string | undefined; readonly config: string },
  screen: Screen,
): readonly string[] {
  const of = runs.length === 1 && !more ? "this run" : "these runs";
  const told = `Nobody acts on ${of}: this start does not serve the group ${group}. No end is noticed there meanwhile.`;
  const text = (it: string) => paragraph(it, { indent: 2 }, screen);
  return [
    "",
    ...paragraph(told, { indent: 2, tone: "strong" }, screen),
    ...runs.map((it) => whole(it, 4)),
    ...(more ? text(`  and more: \`npm run longshore -- runs list --state active${config}\``) : []),
    ...(toServe === undefined
      ? text(`No start from this folder has served ${group}: put it into the groups file of a launcher.`)
      : [...text("To serve the group again, stop this and start"), whole(toServe, 4)]),
    ...text("To give a run up, whatever its Job does:"),
    whole(`npm run longshore -- runs abandon${config} ${runs[0] ?? "RUN"} --yes`, 4),
  ];
}

/** An option for a cluster that nobody named would be ignored, and its Jobs would run as processes of this machine. */
function refuseOfRealCluster(given: Readonly<Record<string, string | boolean | undefined>>): void {
  const [name] = Object.entries(given).find(([, value]) => value !== undefined && value !== false) ?? [];
  if (name !== undefined)
    throw new Usage(
      `--${name} is about a real cluster: name its file with --kubeconfig FILE; without it, runs are local processes`,
    );
}

/** A wrong broker is told before a Postgres is started for nothing. */
async function tryBroker(url: string): Promise<void> {
  await using _broker = await openBroker({ url, log: silentLog, clock: systemClock });
}

/** Opens each server once before "up" is printed, so that a wrong name is told in one sentence. Returns what this start leaves. */
async function tryOut({
  brokerUrl,
  ledgerUrl,
  groupsFile,
  serves,
  isOwnLedger,
}: {
  readonly brokerUrl: string;
  readonly ledgerUrl: string;
  readonly groupsFile: string;
  readonly serves: string;
  /** No other launcher uses the ledger. */
  readonly isOwnLedger: boolean;
}): Promise<readonly Left[]> {
  const clock = systemClock;
  await using _groups = await readGroups(groupsFile, { credential: "launch", clock });
  return await withLedger(ledgerUrl, async (opened) => {
    await using _broker = await openBroker({ url: brokerUrl, log: silentLog, clock });
    return await leftBehind(opened, { serves, isOwnLedger });
  });
}

async function withLedger<T>(url: string, ask: (ledger: Ledger) => Promise<T>): Promise<T> {
  const jobName = (): never => {
    throw new Error("nothing is begun while trying out");
  };
  const installation = Installation.parse(INSTALLATION);
  await using opened = await openLedger({ url, installation, jobName, migrate: true, log: silentLog });
  return await ask(opened);
}

const sinksIn = (file: string): SinksFile => {
  const found = readConfig(SinksFile, { file, env: {} });
  if (Object.keys(found.sinks).length === 0) throw new Usage(`${file} has no sink: config/recorder.yaml shows one`);
  return found;
};

const rulesIn = (file: string): ConsoleConfig["access"] => readConfig(ConsoleConfig, { file, env: {} }).access;

export async function started<T>(surroundings: Surroundings, name: string, what: string, start: () => Promise<T>): Promise<T> {
  const began = systemClock.now();
  const it = await during(surroundings, `${name}: starting ${what}`, start);
  say(surroundings, partLine(name, `${what}, ready after ${span(systemClock.now() - began)}`, screenIn(surroundings)));
  return it;
}

export const partLine = (name: string, what: string, screen: Screen): readonly string[] =>
  row([{ text: name, tone: "strong" }, what], { widths: [8], indent: 2 }, screen);

function given(surroundings: Surroundings, name: string, url: string): AsyncDisposable & { readonly url: string } {
  say(surroundings, partLine(name, withoutCredentials(url), screenIn(surroundings)));
  return { url, [Symbol.asyncDispose]: async () => {} };
}
