/**
 * The folder of `up` and `demo`: a Postgres with the ledger and the broker in it, the pocket cluster, the key and the config
 * files. Other machines cannot reach any of it, and other users cannot read it.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { brokerAt } from "@longshore/broker/brokers.ts";
import { startPostgres } from "@longshore/ledger/embedded-postgres.ts";
import { ANNOTATIONS } from "@longshore/domain/run/marks.ts";
import { type Pocket, startPocket } from "@longshore/pocket/start.ts";
import { stringify } from "yaml";

/**
 * Other users may pass through the folder and not list it: if root runs this, Postgres runs as the user nobody, who must reach
 * the folder of Postgres in here.
 */
export const HOME_MODE = 0o711;
export const INSTALLATION = "local";
export const GROUP = "pocket";
export const NAMESPACE = "default";

export interface Files {
  readonly launcher: string;
  readonly watcher: string;
  readonly groups: string;
}

export interface ClusterChoice {
  /** The cluster as the groups file describes it. */
  readonly cluster: object;
  readonly launch?: object;
  readonly watch?: object;
  readonly name: string;
  readonly namespace: string;
  readonly embedded?: boolean;
  /** The runs whose commands run in the pocket now. */
  readonly running?: () => readonly string[];
  /** What the last start left in the pocket when it was killed. */
  readonly found?: { readonly goOn: readonly string[]; readonly ended: readonly string[] };
}

const newKey = (): string => randomBytes(48).toString("base64");

/** The key for proofs: without it, a restarted launcher would not recognise its own Jobs. */
export async function keyIn(home: string): Promise<string> {
  const file = join(home, "key");
  const existing = await readFile(file, "utf8").catch(() => undefined);
  if (existing === undefined) await writeFile(file, newKey(), { mode: 0o600 });
  return file;
}

export async function postgresIn(home: string): Promise<AsyncDisposable & { readonly url: string }> {
  const { url, stop } = await startPostgres({ dataDir: join(home, "pg") });
  return { url, [Symbol.asyncDispose]: stop };
}

export const pocketFolder = (home: string): string => join(home, "pocket");

export async function pocketIn(
  home: string,
  options: { readonly requestLog?: string; readonly throwaway?: boolean } = {},
): Promise<AsyncDisposable & ClusterChoice & { readonly url: string }> {
  const pocket = await startPocket({ dataDir: pocketFolder(home), ...options });
  const tokenFile = join(home, "pocket-token");
  await writeFile(tokenFile, pocket.token, { mode: 0o600 });
  return {
    url: pocket.url,
    running: () => runsOf(pocket.running()),
    found: { goOn: runsOf(pocket.found.goOn), ended: runsOf(pocket.found.ended) },
    name: GROUP,
    namespace: NAMESPACE,
    cluster: { server: pocket.url },
    embedded: true,
    launch: { tokenFile },
    watch: { tokenFile },
    [Symbol.asyncDispose]: () => pocket[Symbol.asyncDispose](),
  };
}

const runsOf = (pods: ReturnType<Pocket["running"]>): readonly string[] => [
  ...new Set(pods.map(({ metadata: { name, annotations } }) => annotations?.[ANNOTATIONS.runId] ?? name)),
];

export interface Writing {
  readonly home: string;
  readonly brokerUrl: string;
  readonly ledgerUrl: string;
  readonly cluster: ClusterChoice;
  /** Groups beside that of `cluster`. */
  readonly others?: readonly ClusterChoice[];
  readonly jobs?: number;
  /** What runs may use in the groups. */
  readonly policy?: object;
  /** The annotation of Jobs that are prepared in the groups' namespaces. */
  readonly discover?: object | true;
  readonly log?: object;
  /** More of the launcher's settings: defaults, pace. */
  readonly launcher?: object;
}

/** For one person's own machine and cluster: nobody else publishes, and the cluster's Secrets are that person's. */
export const OWN_CLUSTER = { secrets: ["*"], serviceAccounts: ["*"], tokens: true, secretValues: true };

export const BROKER_FILE = "broker-url";
export const LEDGER_FILE = "ledger-url";

export async function writeConfig(writing: Writing): Promise<Files> {
  const { home, brokerUrl, ledgerUrl, cluster, others = [], jobs = 20, policy, discover, log, launcher = {} } = writing;
  await mkdir(home, { recursive: true, mode: HOME_MODE });
  const files = { launcher: join(home, "launcher.yaml"), watcher: join(home, "watcher.yaml"), groups: join(home, "groups.yaml") };
  const secretFile = async (file: string, text: string): Promise<string> => {
    await writeFile(join(home, file), text, { mode: 0o600 });
    return join(home, file);
  };
  const common = {
    installation: INSTALLATION,
    groupsFile: files.groups,
    ...(log && { log }),
    broker: { urlFile: await secretFile(BROKER_FILE, brokerUrl) },
    logKeyFile: await secretFile("log-key", newKey()),
  };
  const ledger = { urlFile: await secretFile(LEDGER_FILE, ledgerUrl), keyFile: await keyIn(home) };
  const groups = [cluster, ...others].map(({ name, namespace, cluster, embedded, launch, watch }) => [
    name,
    {
      cluster,
      ...(launch && { launch }),
      ...(watch && { watch }),
      namespaces: [namespace],
      limits: { jobs },
      ...(policy && { policy }),
      ...(discover && { discover }),
      ...(embedded === true && { embedded }),
    },
  ]);
  await writeFile(files.groups, stringify({ groups: Object.fromEntries(groups) }), { mode: 0o600 });
  // If a broker does not tell who published, each of its users is an operator: `up` is for one machine.
  const operators = brokerAt(brokerUrl).tellsUsers ? [decodeURIComponent(new URL(brokerUrl).username)] : "everyone";
  await writeFile(files.launcher, stringify({ ...common, ledger, operators, http: { listen: "127.0.0.1:0" }, ...launcher }), {
    mode: 0o600,
  });
  await writeFile(files.watcher, stringify({ ...common, http: { listen: "127.0.0.1:0" } }), { mode: 0o600 });
  return files;
}
