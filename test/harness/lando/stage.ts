/**
 * Lando's example as its users run it: its definitions, its rules and its bridge as they are in config/examples/lando, with a
 * stand-in of Bespin's API in front.
 *
 * The failure this prevents: an example that nobody runs.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type Child, startChild } from "@longshore/cli/embedded/child.ts";
import { INSTALLATION } from "@longshore/cli/embedded/home.ts";
import { type ConfirmChannel, connect } from "amqplib";
import { parse, stringify } from "yaml";
import { type Program, program } from "../servers/program.ts";
import { type Bespin, BESPIN_TOKEN, standInBespin } from "./bespin.ts";

export const EXAMPLE = fileURLToPath(new URL("../../../config/examples/lando", import.meta.url));

export const VARIANTS = ["lando", "lando-message"] as const;
export type Variant = (typeof VARIANTS)[number];
/** Each variant has a bridge and a queue of its own. */
const queueOf = (variant: Variant): string => `bespin-${variant}`;

const exampleFile = (name: string): unknown => parse(readFileSync(path.join(EXAMPLE, name), "utf8"));

/** What runs may use in the example's group. */
export const POLICY = (exampleFile("groups.yaml") as { readonly groups: { readonly lando: { readonly policy: object } } }).groups
  .lando.policy;
export const DEFINITIONS = path.join(EXAMPLE, "definitions");

export interface LandoStage extends AsyncDisposable {
  readonly bespin: Bespin;
  bridge(variant: Variant): Promise<Program>;
  recorder(pace?: Pace, options?: { readonly eager?: boolean }): Promise<Child>;
  /** Sends a message as Bespin does: JSON, or a text of another's. */
  send(variant: Variant, message: object | string): Promise<void>;
}

interface Pace {
  /** Of one request, and how long a dead recorder's sink waits for another recorder. */
  readonly timeout: string;
  readonly lease: string;
}

export interface Options {
  readonly brokerUrl: string;
  readonly ledgerUrl: string;
  readonly python: string;
}

export async function landoStage({ brokerUrl, ledgerUrl, python }: Options): Promise<LandoStage> {
  await using parts = new AsyncDisposableStack();
  const bespin = parts.use(await standInBespin());
  const folder = await mkdtemp(path.join(tmpdir(), "longshore-lando-"));
  parts.defer(() => rm(folder, { recursive: true, force: true }));
  await writeFile(path.join(folder, "bespin-token"), `${BESPIN_TOKEN}\n`);
  await writeFile(path.join(folder, "ledger-url"), ledgerUrl);
  let broker = await senderTo(brokerUrl);
  parts.defer(() => broker.close());
  const kept = parts.move();
  return {
    bespin,
    bridge: async (variant) => {
      const env = {
        AMQP_URL: brokerUrl, BESPIN_URL: bespin.url, BESPIN_TOKEN_FILE: path.join(folder, "bespin-token"),
        BESPIN_QUEUE: queueOf(variant), LANDO_DEFINITION: variant, LANG: "C.UTF-8", PYTHONDONTWRITEBYTECODE: "1",
      }; // biome-ignore format: a table
      const bridge = kept.use(program(python, [path.join(EXAMPLE, "bridge.py")], { env }));
      await bridge.prints("waits for messages");
      return bridge;
    },
    recorder: async (pace = { timeout: "20s", lease: "40s" }, { eager = false } = {}) => {
      const config = path.join(folder, "recorder.yaml");
      await writeFile(config, recorderConfig(bespin.url, folder, pace));
      const { LONGSHORE_CONFIG: _, ...env } = process.env;
      return kept.use(await startChild("recorder", { config, env, eager }));
    },
    send: async (variant, message) => {
      // A connection that broke while nobody sent is no matter of the test's, and a broker that was killed is back.
      if (broker.isClosed()) broker = await senderTo(brokerUrl);
      broker.channel.sendToQueue(queueOf(variant), Buffer.from(typeof message === "string" ? message : JSON.stringify(message)));
      await broker.channel.waitForConfirms();
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

interface Sender {
  readonly channel: ConfirmChannel;
  isClosed(): boolean;
  close(): Promise<void>;
}

async function senderTo(url: string): Promise<Sender> {
  const connection = await connect(url);
  connection.on("error", () => undefined); // a test may kill the broker
  let isClosed = false;
  connection.once("close", () => (isClosed = true));
  const channel = await connection.createConfirmChannel();
  return { channel, isClosed: () => isClosed, close: async () => (isClosed ? undefined : await connection.close()) };
}

/** The example's own file, with what an installation fills in. */
function recorderConfig(url: string, folder: string, { timeout, lease }: Pace): string {
  const text = JSON.stringify(exampleFile("recorder.yaml")).replaceAll("https://bespin.example/api", url);
  const { sinks, ...others } = JSON.parse(text) as { readonly sinks: { readonly bespin: object } };
  const authorization = { before: "Token ", valueFile: path.join(folder, "bespin-token") };
  return stringify({
    ...others,
    installation: INSTALLATION,
    ledger: { urlFile: path.join(folder, "ledger-url") },
    addresses: { allow: ["127.0.0.1"] },
    http: { listen: "127.0.0.1:0" },
    pace: { poll: "100ms", lease },
    sinks: { bespin: { ...sinks.bespin, headers: { authorization }, timeout } },
  });
}
