/**
 * A private etcd. Only etcd can make a cluster forget its past, or return to it.
 *
 * The failures this prevents: a client that was never tried with an expired version, and a client that believes that versions
 * only grow.
 */
import * as fs from "node:fs/promises";
import path from "node:path";
import { freePort } from "@longshore/ledger/embedded-postgres.ts";
import { type Part, part } from "./part.ts";

export interface Etcd extends Part {
  readonly url: string;
  /** Drops every version before this moment. The API server's own cache remembers them until the API server starts again. */
  compact(): Promise<void>;
  /** Copies etcd's data into the folder; etcd must not be running. */
  copyTo(folder: string): Promise<void>;
  returnTo(folder: string): Promise<void>;
}

export async function etcd(program: string, folder: string): Promise<Etcd> {
  const [client, peer] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${client}`;
  const peerUrl = `http://127.0.0.1:${peer}`;
  const dataDir = path.join(folder, "etcd");
  const server = part({
    name: "etcd",
    program,
    args: [
      `--data-dir=${dataDir}`,
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=default=${peerUrl}`,
      "--unsafe-no-fsync", // no test needs its data after a power cut
      "--log-level=warn",
      "--quota-backend-bytes=4294967296",
    ],
    logFile: path.join(folder, "etcd.log"),
    ready: async () => (await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) })).ok,
  });
  const ask = async (what: string, body: object): Promise<unknown> => {
    const answer = await fetch(`${url}/v3/kv/${what}`, { method: "POST", body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`etcd answered ${answer.status} to ${what}: ${await answer.text()}`);
    return await answer.json();
  };
  return Object.assign(server, {
    url,
    compact: async () => {
      const { header } = (await ask("range", { key: Buffer.from("none").toString("base64") })) as {
        header: { revision: string };
      };
      await ask("compaction", { revision: header.revision, physical: true });
    },
    copyTo: (to: string) => fs.cp(dataDir, to, { recursive: true }),
    returnTo: async (from: string) => {
      await fs.rm(dataDir, { recursive: true, force: true });
      await fs.cp(from, dataDir, { recursive: true });
    },
  });
}
