/**
 * A private etcd, with the two things that only it can do to a cluster's memory: forget the past, and return to it.
 *
 * The failures this prevents: a client that was never shown an expired version, and one that believes versions only grow.
 */
import * as fs from "node:fs/promises";
import path from "node:path";
import { freePort } from "@longshore/ledger/embedded-postgres.ts";
import { type Part, part } from "./part.ts";

export interface Etcd extends Part {
  readonly url: string;
  /** Drops every version before this moment. The API server's own cache still remembers until it is started again. */
  compact(): Promise<void>;
  /** A copy of its data; it must not be running. */
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
      "--unsafe-no-fsync", // tests lose nothing that a power cut would
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
