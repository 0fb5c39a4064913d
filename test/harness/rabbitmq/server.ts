/**
 * A RabbitMQ of a version that the test file names. One of the file alone can be killed, frozen, filled and started again.
 *
 * The failures this prevents: tests against the machine's own server on the default port, and servers that stay behind. Each
 * server ends with the process that asked for it. It runs in a small Debian tree, or in a container if no tree can be made.
 */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type Say, toStderr } from "../builds/cached.ts";
import { dockerAnswers } from "../docker.ts";
import { borrow, hasLender } from "../lending/borrow.ts";
import { containers } from "./container.ts";
import type { Place, Running, Source, Version } from "./where.ts";
import { trees } from "./tree.ts";

/** How a client reaches a RabbitMQ. */
export interface RabbitmqPlace {
  readonly version: Version;
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

/** A RabbitMQ of one test file alone, which may break it. */
export interface TestRabbitmq extends RabbitmqPlace, AsyncDisposable {
  /** The server's process id while it runs. In a container it is the id on the Docker engine's machine. */
  readonly pid: number | undefined;
  /** Runs `rabbitmqctl` with these arguments; resolves to its output. */
  ctl(...args: string[]): Promise<string>;
  /** Ends the whole server as kill -9 does. */
  kill(): Promise<void>;
  /** Starts the server again on the same data and port; resolves when it accepts connections. */
  start(): Promise<void>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Raises the memory alarm: the server no longer reads from connections that publish. */
  block(): Promise<void>;
  unblock(): Promise<void>;
}

const START_WITHIN_MS = 90_000;
const USER = "longshore";

interface RabbitmqOptions {
  readonly version: Version;
  readonly say?: Say;
}

/** With `shared`, other test files of the same run use the server too, each in a virtual host of its own. */
export async function rabbitmq(options: RabbitmqOptions & { readonly shared: true }): Promise<RabbitmqPlace & AsyncDisposable>;
export async function rabbitmq(options: RabbitmqOptions): Promise<TestRabbitmq>;
export async function rabbitmq(
  options: RabbitmqOptions & { readonly shared?: boolean },
): Promise<RabbitmqPlace & AsyncDisposable> {
  const { version, say = toStderr, shared = false } = options;
  if (!shared || !hasLender()) return await privateRabbitmq(version, say);
  const { given, ...loan } = await borrow<RabbitmqPlace>(`rabbitmq ${version}`);
  return { ...given, [Symbol.asyncDispose]: loan[Symbol.asyncDispose] };
}

async function privateRabbitmq(version: Version, say: Say): Promise<TestRabbitmq> {
  const source = await bringRabbitmq(version, say);
  const password = randomBytes(12).toString("hex");
  const place = await source.place(version, { user: USER, password });
  let server: Running | undefined;
  const running = (): Running => {
    if (server === undefined) throw new Error("this RabbitMQ is not running");
    return server;
  };
  const start = async (): Promise<void> => {
    server = await place.start();
    await untilReady(place, server);
  };
  const dispose = async (): Promise<void> => {
    await server?.kill();
    server = undefined;
    await place[Symbol.asyncDispose]();
  };
  await start().catch(async (error: unknown) => {
    await dispose();
    throw error;
  });

  return {
    version,
    get pid() {
      return server?.pid;
    },
    url: `amqp://${USER}:${password}@${place.host}:${place.port}/`,
    host: place.host,
    port: place.port,
    user: USER,
    password,
    ctl: (...args) => place.ctl(args),
    kill: async () => {
      await server?.kill();
      server = undefined;
    },
    start,
    freeze: async () => running().freeze(),
    thaw: async () => running().thaw(),
    block: async () => void (await place.ctl(["set_vm_memory_high_watermark", "absolute", "1"])),
    unblock: async () => void (await place.ctl(["set_vm_memory_high_watermark", "0.6"])),
    [Symbol.asyncDispose]: dispose,
  };
}

/**
 * Chooses a tree of ours if there is one or it can be made; otherwise a container. A tree comes first because every fault test
 * has passed on one; containers have passed only start, kill, start again, freeze and block.
 */
export async function bringRabbitmq(version: Version, say: Say): Promise<Source> {
  try {
    await trees.bring(version, say);
    return trees;
  } catch (error) {
    if (!(await dockerAnswers())) throw error;
    await containers.bring(version, say);
    return containers;
  }
}

async function untilReady({ host, port }: Place, server: Running): Promise<void> {
  for (const start = performance.now(); performance.now() - start < START_WITHIN_MS; await sleep(100)) {
    if (await server.ended()) break;
    if (await accepts(host, port)) return;
  }
  throw new Error(`RabbitMQ did not start on port ${port} of ${host}. Its last words:\n${await server.lastWords()}`);
}

/**
 * An open port is not enough: Docker opens it before RabbitMQ listens, and RabbitMQ answers a protocol header only when it has
 * booted.
 */
async function accepts(host: string, port: number): Promise<boolean> {
  const socket = connect(port, host, () => socket.write("AMQP\0\0\x09\x01")).setTimeout(2_000);
  try {
    return await new Promise((resolve) => {
      socket.once("data", () => resolve(true));
      for (const end of ["timeout", "error", "close"]) socket.once(end, () => resolve(false)); // not yet
    });
  } finally {
    socket.destroy();
  }
}
