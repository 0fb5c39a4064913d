/**
 * A system with as many groups as a test wants. Each group is a namespace of its own in the pocket, and may have a proxy before
 * it that can fall silent.
 *
 * The failure this prevents: a promise about many groups that was tested with only one.
 */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { stringify } from "yaml";
import type { ReceivedEvent } from "@longshore/contract/messages/envelope.ts";
import { openSystem, type System } from "../harness/system.ts";
import { type TcpProxy, tcpProxy } from "../harness/faults/proxy.ts";

export interface GroupPlan {
  readonly jobs?: number;
  readonly createsPerSecond?: number;
  readonly hold?: boolean;
  readonly images?: readonly string[];
  /** True if the group has a proxy of its own. */
  readonly proxied?: boolean;
}

export interface Groups extends AsyncDisposable {
  readonly system: System;
  readonly proxies: ReadonlyMap<string, TcpProxy>;
  /** Writes the groups file anew. Programs read the file when they start. */
  write(groups: Readonly<Record<string, GroupPlan>>): Promise<void>;
  /** Runs `longshore …` against this system. */
  longshore(...args: readonly string[]): Promise<{ readonly code: number; readonly out: string }>;
  /** Returns the group in which the run's newest Job was launched. */
  groupOf(run: string): string | undefined;
  of(run: string, type: string): readonly ReceivedEvent[];
}

const run = promisify(execFile);
const main = fileURLToPath(new URL("../../services/longshore/main.ts", import.meta.url));

export async function openGroups(groups: Readonly<Record<string, GroupPlan>>, launcher: object = {}): Promise<Groups> {
  const system = await openSystem({ launcher });
  const { home, site } = system;
  const { cluster, launch, watch } = site.choice;
  const server = (cluster as { readonly server: string }).server;
  const proxies = new Map<string, TcpProxy>();
  const forever = new AbortController().signal;

  async function write(plans: Readonly<Record<string, GroupPlan>>): Promise<void> {
    const rows: [string, object][] = [];
    for (const [name, { jobs = 100, createsPerSecond, hold, images, proxied = false }] of Object.entries(plans)) {
      // An answer of 409 is fine: the namespace exists already.
      const body = { apiVersion: "v1", kind: "Namespace", metadata: { name } };
      await site.admin.send({ method: "POST", path: "/api/v1/namespaces", body }, forever);
      if (proxied && !proxies.has(name)) proxies.set(name, await tcpProxy("127.0.0.1", Number(new URL(server).port)));
      rows.push([
        name,
        {
          cluster: { server: proxies.get(name)?.url(server) ?? server },
          launch,
          watch,
          namespaces: [name],
          limits: { jobs, ...(createsPerSecond !== undefined && { createsPerSecond }) },
          ...(hold === false && { hold }),
          ...(images && { policy: { images } }),
        },
      ]);
    }
    await writeFile(join(home, "groups.yaml"), stringify({ groups: Object.fromEntries(rows) }), { mode: 0o600 });
  }

  await write(groups);
  const of = (id: string, type: string) => system.received.filter((it) => it.subject === id && it.type === type);
  return {
    system,
    proxies,
    write,
    async longshore(...args) {
      const { LONGSHORE_CONFIG: _config, ...env } = process.env;
      try {
        const { stdout } = await run(process.execPath, [main, ...args, "--config", join(home, "launcher.yaml")], {
          env,
          timeout: 60_000,
        });
        return { code: 0, out: stdout };
      } catch (error) {
        const { code, stdout, stderr } = error as { readonly code: number; readonly stdout: string; readonly stderr: string };
        return { code, out: `${stdout}${stderr}` };
      }
    },
    groupOf: (id) => of(id, "run.launched").at(-1)?.group,
    of,
    async [Symbol.asyncDispose]() {
      await system[Symbol.asyncDispose]();
      await Promise.all([...proxies.values()].map((it) => it[Symbol.asyncDispose]()));
    },
  };
}

export const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
/** A step that runs until it is stopped. */
export const long = { image: "demo/long:1", command: ["sh", "-c", "sleep 600"] };
export const named = (prefix: string, most: number): readonly string[] =>
  Array.from({ length: most }, (_, n) => `${prefix}/${n}`);
