/**
 * The data folder of a new Postgres, made once on this machine and copied for each test.
 *
 * The failure this prevents: an initdb for each of a run's seventy servers, which costs four times as much of a processor as a
 * copy.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { startPostgres } from "@longshore/ledger/embedded-postgres.ts";
import pg from "pg";
import { cached, run } from "../builds/cached.ts";

/** The data, and the password of its user. The log of the server that made them is left out. */
const PARTS = ["data", "password"];

/** Fills a new folder, from which `startPostgres` then starts without an initdb. */
export async function copyNewData(folder: string): Promise<void> {
  await copy(await cached(`postgres-data-${await versionOf()}`, make), folder);
}

/** A server that ends in order leaves data that another server can start from. */
async function make(folder: string): Promise<void> {
  const dataDir = await fs.mkdtemp(path.join(tmpdir(), "longshore-postgres-"));
  try {
    const server = await startPostgres({ dataDir, unsafe: true });
    try {
      await cheapPassword(server.url);
    } finally {
      await server.stop();
    }
    await copy(dataDir, folder);
  } finally {
    await fs.rm(dataDir, { recursive: true, force: true });
  }
}

/** A client hashes its password 4096 times for each connection, and a run has thousands of connections. */
async function cheapPassword(url: string): Promise<void> {
  const { username, password } = new URL(url);
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query(`set scram_iterations = 1; alter role ${username} password '${password}'`);
  } finally {
    await client.end();
  }
}

/** Keeps owners, which Node's own copy does not: as root, the data belong to the user nobody. */
async function copy(from: string, to: string): Promise<void> {
  await run("cp", ["-a", ...PARTS.map((it) => path.join(from, it)), to]);
}

/** Another Postgres, other options of initdb, another user of this machine, or another text of this file make other data. */
async function versionOf(): Promise<string> {
  const source = fileURLToPath(import.meta.resolve("@longshore/ledger/embedded-postgres.ts"));
  const hash = createHash("sha256").update(String(process.getuid?.()));
  for (const file of [source, path.join(path.dirname(source), "package.json"), import.meta.filename])
    hash.update(await fs.readFile(file));
  return hash.digest("hex").slice(0, 12);
}
