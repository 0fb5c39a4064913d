/**
 * How a watcher reaches each group of a groups file, as values instead of files: for launchers, which announce it.
 *
 * The bugs this prevents: the launcher's own credential given away because a group had no other, and a token announced
 * once that the cluster's rotation made worthless. Each look reads what the files hold at that moment.
 */
import type { GroupName } from "@longshore/contract/ids.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { ConfigProblems, readConfig, reason } from "@longshore/runtime/config.ts";
import { connect, type Connected, type CredentialSettings } from "./connect.ts";
import type { Connection, Trust } from "./connection.ts";
import { readText } from "./credential-file.ts";
import { type GroupSettings, GroupsFile, nameOf } from "./groups.ts";

/** All that a connection is made of. `trust.cert`, `trust.key` and `authorization` are the credential. */
export interface Access {
  readonly name: GroupName;
  readonly namespace: string;
  readonly server: string;
  readonly trust: Trust;
  /** The header's whole value. */
  readonly authorization: string | undefined;
}

export interface WatchAccess {
  /** What the files say now, also where another group stands in them. Throws `ConfigProblems` where that cannot be told. */
  look(): Promise<readonly Access[]>;
}

interface OpenGroup {
  readonly at: string;
  readonly names: readonly (readonly [name: GroupName, namespace: string])[];
  readonly watch: Connection;
  readonly launch: Connection | undefined;
}

/** Throws `ConfigProblems`, all of them at once: a launcher that cannot announce its groups does not start. */
export async function openWatchAccess(file: string, clock: Clock): Promise<WatchAccess> {
  const textOf = (): Promise<string> =>
    readText(file).catch((error: unknown) => {
      throw new ConfigProblems([reason(error)]);
    });
  let text = await textOf();
  let opened = await openAll(file, clock);
  for (const it of opened) await accessOf(it);
  return {
    look: async () => {
      const now = await textOf();
      if (now !== text) {
        opened = await openAll(file, clock);
        text = now; // only then: what could not be opened is tried again at the next look
      }
      return (await Promise.all(opened.map(accessOf))).flat();
    },
  };
}

async function openAll(file: string, clock: Clock): Promise<readonly OpenGroup[]> {
  const { groups } = readConfig(GroupsFile, { file, env: {} });
  const problems: string[] = [];
  const opened: OpenGroup[] = [];
  for (const [group, settings] of Object.entries(groups)) {
    const at = `${file}: /groups/${group}`;
    if (!isOwn(settings.watch)) {
      problems.push(
        `${at}/watch: a group that is announced needs a watch credential of its own (a tokenFile, or a certFile and keyFile): the launcher's is told to nobody`,
      );
      continue;
    }
    const watch = await connected(settings, "watch", group, clock);
    const launch = isOwn(settings.launch) ? await connected(settings, "launch", group, clock) : undefined;
    if (watch.kind === "refused") problems.push(...watch.problems.map(({ path, message }) => `${file}: ${path}: ${message}`));
    if (watch.kind === "refused" || launch?.kind === "refused") continue; // the launcher's own is told by who uses it
    const names = settings.namespaces.map((it) => [nameOf(group, it, settings.namespaces), it] as const);
    opened.push({ at, names, watch: watch.connection, launch: launch?.connection });
  }
  if (problems.length > 0) throw new ConfigProblems(problems);
  return opened;
}

function connected(settings: GroupSettings, as: "watch" | "launch", group: string, clock: Clock): Promise<Connected> {
  return connect({ cluster: settings.cluster, credential: settings[as] ?? {}, clock, at: `/groups/${group}`, as });
}

function isOwn(credential: CredentialSettings | undefined): boolean {
  return Object.values(credential ?? {}).some((it) => it !== undefined);
}

async function accessOf({ at, names, watch, launch }: OpenGroup): Promise<readonly Access[]> {
  for (const it of [watch, launch]) it?.rejected(); // so that each file is read again, however young what we hold
  const [authorization, trust] = [await watch.authorization(), await watch.trust()];
  const [theirs, theirTrust] = [await launch?.authorization(), await launch?.trust()];
  const same = authorization === undefined ? trust.cert === theirTrust?.cert : authorization === theirs;
  if (launch !== undefined && same) {
    throw new ConfigProblems([
      `${at}/watch: it is the launch credential, which can write in the cluster and is told to nobody; give the watcher another (longshore rbac prints a Role that can only read)`,
    ]);
  }
  return names.map(([name, namespace]) => ({ name, namespace, server: watch.server, trust, authorization }));
}
