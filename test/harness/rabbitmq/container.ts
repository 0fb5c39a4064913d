/**
 * A RabbitMQ in a container of the official image, for everyone who has a Docker engine and is not root on Debian.
 *
 * The failures this prevents: containers that stay behind when a test was killed (Ryuk, the reaper of testcontainers, removes
 * every container with our session's label), and a server on another port after its restart. No part of testcontainers is
 * loaded before its first use.
 */
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "@longshore/ledger/embedded-postgres.ts";
import type { getContainerRuntimeClient } from "testcontainers";
import type { Account, Place, Running, Source, Version } from "./where.ts";

type Engine = Awaited<ReturnType<typeof getContainerRuntimeClient>>;
type Container = ReturnType<Engine["container"]["getById"]>;

const PULL_WITHIN_MS = 10 * 60_000;
const PORT = "5672/tcp";
const FILES_MOST = 16_384;

export const containers: Source = {
  bring: async (version, say) => {
    const { getContainerRuntimeClient, getReaper, ImageName } = await import("testcontainers");
    const engine = await getContainerRuntimeClient();
    const name = ImageName.fromString(image(version));
    const pull = async (): Promise<void> => {
      if (!(await engine.image.exists(name))) {
        say(`RabbitMQ ${version}: the Docker engine fetches the image ${image(version)} (once)`);
        await engine.image.pull(name);
      }
      await getReaper(engine); // the reaper needs an image too
    };
    await within(pull(), `The Docker engine did not fetch the image ${image(version)}`);
  },
  place: async (version, account) => {
    const { getContainerRuntimeClient, getReaper, LABEL_TESTCONTAINERS_SESSION_ID } = await import("testcontainers");
    const engine = await getContainerRuntimeClient();
    const { sessionId } = await getReaper(engine);
    const { host } = engine.info.containerRuntime;
    const local = host === "localhost";
    const port = await freePort();
    const container = await engine.container.create({
      ...server(version, account),
      Labels: { [LABEL_TESTCONTAINERS_SESSION_ID]: sessionId },
      HostConfig: {
        // We choose the port: a port that the engine chooses is another one after a restart.
        PortBindings: { [PORT]: [{ HostPort: String(port), HostIp: local ? "127.0.0.1" : "" }] },
        // Erlang reserves memory for as many files as it may open: gigabytes, if the engine sets no bound.
        Ulimits: [{ Name: "nofile", Soft: FILES_MOST, Hard: FILES_MOST }],
      },
    });
    return placeOf(engine, container, local ? "127.0.0.1" : host, port);
  },
};

const image = (version: Version): string => `rabbitmq:${version}`;

const server = (version: Version, { user, password }: Account) => ({
  Image: image(version),
  Env: [
    `RABBITMQ_DEFAULT_USER=${user}`,
    `RABBITMQ_DEFAULT_PASS=${password}`,
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 2:2 +sbwt none",
  ],
  ExposedPorts: { [PORT]: {} },
});

function placeOf(engine: Engine, container: Container, host: string, port: number): Place {
  return {
    host,
    port,
    start: async () => {
      await container.start();
      return await running(engine, container);
    },
    ctl: async (args) => {
      const { exitCode, stdout, output } = await engine.container.exec(container, ["rabbitmqctl", "--quiet", ...args]);
      if (exitCode !== 0) throw new Error(`rabbitmqctl ${args.join(" ")} ended with ${exitCode}: ${output}`);
      return stdout;
    },
    [Symbol.asyncDispose]: async () => void (await container.remove({ force: true, v: true })),
  };
}

async function running(engine: Engine, container: Container): Promise<Running> {
  const { State } = await container.inspect();
  const ended = async (): Promise<boolean> => !(await container.inspect()).State.Running;
  return {
    pid: State.Pid,
    ended,
    lastWords: async () => await text(await engine.container.logs(container, { tail: 40 })),
    kill: async () => {
      if (await ended()) return; // the engine kills only a container that runs
      const gone: Promise<unknown> = container.wait();
      await container.kill({ signal: "SIGKILL" });
      await gone;
    },
    freeze: async () => void (await container.pause()),
    thaw: async () => void (await container.unpause()),
  };
}

async function within(work: Promise<void>, failure: string): Promise<void> {
  const late = sleep(PULL_WITHIN_MS, undefined, { ref: false }).then(
    () => `it took longer than ${PULL_WITHIN_MS / 60_000} minutes`,
  );
  const why = await Promise.race([work.then(() => undefined), late]).catch((error: unknown) => String(error));
  if (why !== undefined) throw new Error(`${failure}: ${why}`);
}
