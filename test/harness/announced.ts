/**
 * A Longshore whose watcher has no groups file. Its programs are real processes; the test names the broker and the cluster, or
 * takes the pocket, which runs in this process. Every message body that passes the broker is kept.
 *
 * The failure this prevents: calling a credential hidden because the program under test says that it hid it.
 */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { brokerAt, openBroker } from "@longshore/broker/brokers.ts";
import type { Broker } from "@longshore/broker/port.ts";
import { type Child, startChild } from "@longshore/cli/embedded/child.ts";
import { PREFIX, type ReceivedEvent, writeCommand } from "@longshore/contract/messages/envelope.ts";
import { serveHttp } from "@longshore/pocket/server/http.ts";
import { createModel, type Model } from "@longshore/pocket/testing/model.ts";
import { instantPods } from "@longshore/pocket/testing/scripted.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { connect } from "amqplib";
import pg from "pg";
import { stringify } from "yaml";
import { postgres } from "./servers/postgres.ts";
import { connected } from "./nats/upstream.ts";
import { openJournal } from "./upstream.ts";

export interface Place {
  readonly server: string;
  readonly ca?: string;
  readonly tokens: { readonly launch: string; readonly watch: string };
}

export interface Announced extends AsyncDisposable {
  readonly broker: Broker;
  /** Writes the launcher's groups file: the name of each group, and its namespace. */
  groups(groups: Readonly<Record<string, string>>): Promise<void>;
  /** Replaces the file of the watch token, as a rotation does. */
  rotate(token: string): Promise<void>;
  launcher(): Promise<Program>;
  watcher(options?: { readonly key?: string }): Promise<Program>;
  run(id: string, more?: object): Promise<void>;
  ended(id: string): Promise<ReceivedEvent>;
  until(what: string, ready: () => boolean | Promise<boolean>): Promise<void>;
  /** Every message body that passed the broker. */
  bodies(): Promise<readonly Buffer[]>;
  /** All log lines of all programs so far. */
  logs(): readonly string[];
}

export interface Program extends Child {
  /** The answer of /readyz: its status, then its text. */
  ready(): Promise<string>;
}

const PACE = { claim: "2s", workLease: "1s", poll: "200ms", probe: "500ms", tally: "3s", partitionLease: "2s", announce: "1s" };
const PATIENCE_MS = 60_000;

/** A pocket that names each token's user after the token. */
export async function pocketPlace(): Promise<
  AsyncDisposable & { readonly place: Place & { readonly tokens: { readonly rotated: string } }; readonly pocket: Model }
> {
  await using parts = new AsyncDisposableStack();
  const token = (): string => `canary-${randomBytes(24).toString("hex")}`;
  const tokens = { launch: token(), watch: token(), rotated: token() };
  const credentials = new Map(Object.entries(tokens).map(([user, it]) => [it, { user }]));
  const kubelet = parts.use(instantPods(clock));
  const pocket = parts.use(createModel({ clock, kubelet, namespaces: ["default", "other"] }));
  const { url } = parts.use(await serveHttp({ cluster: pocket, credentials }));
  const kept = parts.move();
  return { place: { server: url, tokens }, pocket, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

export async function announcedSystem(
  place: Place,
  first: Readonly<Record<string, string>>,
  brokers: { readonly url?: string; readonly watcherUrl?: string; readonly launcherUrl?: string } = {},
): Promise<Announced> {
  await using parts = new AsyncDisposableStack();
  const home = await mkdtemp(path.join(tmpdir(), "longshore-announced-"));
  parts.defer(() => rm(home, { recursive: true, force: true }));
  const database = parts.use(await postgres());
  const { url = database.url, watcherUrl = url, launcherUrl = url } = brokers;
  const file = async (name: string, text: string): Promise<string> => {
    const to = path.join(home, name);
    await mkdir(path.dirname(to), { recursive: true });
    await writeFile(`${to}.new`, text, { mode: 0o600 });
    await rename(`${to}.new`, to);
    return to;
  };

  const launchToken = await file("launch-token", place.tokens.launch);
  const watchToken = await file("watch-token", place.tokens.watch);
  const sealKey = randomBytes(48).toString("base64");
  const groups = async (named: Readonly<Record<string, string>>): Promise<void> => {
    const each = Object.entries(named).map(([name, namespace]) => [name, { cluster: { server: place.server, ...(place.ca !== undefined && { ca: place.ca }) }, launch: { tokenFile: launchToken }, watch: { tokenFile: watchToken }, namespaces: [namespace], limits: { jobs: 50 } }]);
    await file("groups.yaml", stringify({ groups: Object.fromEntries(each) }));
  }; // biome-ignore format: one value
  await groups(first);
  const common = { installation: "announced", broker: { urlFile: await file("broker-url", launcherUrl) }, http: { listen: "127.0.0.1:0" }, log: { level: "debug" } }; // biome-ignore format: one value
  const ledger = {
    urlFile: await file("ledger-url", database.url),
    keyFile: await file("ledger-key", randomBytes(48).toString("base64")),
  };
  const launcherFile = await file("launcher.yaml", stringify({ ...common, ledger, groupsFile: path.join(home, "groups.yaml"), sealKeyFile: await file("seal-key", sealKey), pace: PACE })); // biome-ignore format: one value

  const broker = parts.use(await openBroker({ url, log: silentLog, clock }));
  const tap = parts.use(await openTap(url));
  const journal = parts.use(await openJournal(url));
  const kept = parts.move();

  const programs: Child[] = [];
  const start = async (name: "launcher" | "watcher", config: string): Promise<Program> => {
    const child = kept.use(await startChild(name, { config, env: process.env }));
    programs.push(child);
    const health = child.said.map((line) => /"health":"([^"]+)"/.exec(line)?.[1]).find((it) => it !== undefined);
    const ready = async (): Promise<string> => {
      const answer = await fetch(`${health}/readyz`);
      return `${answer.status} ${await answer.text()}`;
    };
    return { ...child, ready };
  };

  let watchers = 0;
  const until: Announced["until"] = async (what, ready) => {
    for (const began = clock.now(); !(await ready()); await clock.sleep(50)) {
      if (clock.now() - began < PATIENCE_MS) continue;
      throw new Error(`${what} did not come within ${PATIENCE_MS / 1000} s; the programs last said\n${programs.flatMap((it) => it.said.slice(-8)).join("\n")}`);
    }
  }; // biome-ignore format: one message
  const endOf = (id: string): ReceivedEvent | undefined =>
    journal.received.find((it) => it.subject === id && /^run\.(succeeded|failed|lost|cancelled)$/.test(it.type));
  return {
    broker, groups, until,
    rotate: async (to) => void (await file("watch-token", to)),
    launcher: () => start("launcher", launcherFile),
    watcher: async ({ key = sealKey } = {}) => {
      const folder = `watcher-${++watchers}`; // everything that a watcher on another machine would have
      const broker = { urlFile: await file(`${folder}/broker-url`, watcherUrl) };
      const config = stringify({ ...common, broker, sealKeyFile: await file(`${folder}/seal-key`, key) });
      return await start("watcher", await file(`${folder}/watcher.yaml`, config));
    },
    run: async (id, more = {}) => {
      const body = writeCommand({ id: `command/${id}`, source: "/tests", type: "run.requested", data: { run: id, image: "demo/quick:1", command: ["true"], ...more } });
      await broker.publish("commands", { id, key: `${PREFIX}run.requested`, body }, new AbortController().signal);
    },
    ended: async (id) => {
      await until(`the end of ${id}`, () => endOf(id) !== undefined);
      return endOf(id) as ReceivedEvent;
    },
    bodies: tap.bodies,
    logs: () => programs.flatMap((it) => it.said),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }; // biome-ignore format: names in one look
}

/** Returns each place where a credential can be seen, in any encoding. A test wants none. */
export async function seen(it: Announced, tokens: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const bodies = (await it.bodies()).map((body) => body.toString("latin1"));
  const lines = it.logs();
  const places = { "at the broker": bodies, "in a log": lines };
  return Object.entries(tokens).flatMap(([name, token]) => {
    const plain = [token, ...shifted(token), Buffer.from(token).toString("hex")];
    const forms = [...plain, ...plain.map((it) => it.replaceAll("+", "-").replaceAll("/", "_"))];
    return Object.entries(places).flatMap(([where, texts]) =>
      texts.some((text) => forms.some((form) => text.includes(form))) ? [`${name} ${where}`] : [],
    );
  });
}

/** Returns the base64 forms of the text, one for each of the three offsets at which it may begin. */
const shifted = (text: string): readonly string[] =>
  [0, 1, 2].map((by) => Buffer.from(" ".repeat(by) + text).toString("base64").slice(by === 0 ? 0 : 4, -4).replaceAll("=", "")); // biome-ignore format: one value

interface Tap extends AsyncDisposable {
  bodies(): Promise<readonly Buffer[]>;
}

/**
 * Taps the broker itself, by a queue of our own bound to each exchange, by a subscription, or by a trigger on the broker's
 * table.
 */
const TAPS: Readonly<Record<string, (url: string) => Promise<Tap>>> = {
  RabbitMQ: tapExchanges,
  NATS: tapSubjects,
  Postgres: tapTable,
};

async function openTap(url: string): Promise<Tap> {
  const { name } = brokerAt(url);
  const tap = TAPS[name];
  if (tap === undefined) throw new Error(`the tests have no tap for ${name}`);
  return await tap(url);
}

async function tapSubjects(url: string): Promise<Tap> {
  const bodies: Buffer[] = [];
  const connection = await connected(url);
  connection.subscribe("longshore.>", { callback: (_error, { data }) => void bodies.push(Buffer.from(data)) });
  await connection.flush();
  return { bodies: async () => bodies, [Symbol.asyncDispose]: () => connection.close() };
}

async function tapExchanges(url: string): Promise<Tap> {
  const bodies: Buffer[] = [];
  const model = await connect(url);
  const channel = await model.createChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  for (const exchange of ["commands", "facts", "events", "control"]) await channel.bindQueue(queue, `longshore.${exchange}`, "#");
  await channel.consume(queue, (message) => message !== null && void bodies.push(message.content), { noAck: true });
  return { bodies: async () => bodies, [Symbol.asyncDispose]: () => model.close() };
}

async function tapTable(url: string): Promise<Tap> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query(`
    create table tapped (body bytea);
    create function tap() returns trigger language plpgsql as $$ begin insert into tapped values (new.body); return new; end $$;
    create trigger tap after insert on longshore_broker.message for each row execute function tap();
    create trigger tap after insert on longshore_broker.history for each row execute function tap()`);
  return {
    bodies: async () => (await client.query<{ body: Buffer }>("select body from tapped")).rows.map((it) => it.body),
    [Symbol.asyncDispose]: () => client.end(),
  };
}
