/** `longshore publish`: sends one command to the broker, like any upstream, and can follow the run's story. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { openBroker } from "@longshore/broker/brokers.ts";
import type { Broker, Delivery } from "@longshore/broker/port.ts";
import { message } from "@longshore/client/request.ts";
import type { CommandInput, CommandType } from "@longshore/contract/command.ts";
import { readEvent } from "@longshore/contract/envelope.ts";
import { isTerminal } from "@longshore/contract/event.ts";
import { Failure } from "@longshore/contract/problem.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { readYaml } from "@longshore/runtime/config/yaml-text.ts";
import { command, CONFIG, fileAt, type Surroundings, Usage } from "../command.ts";
import { findLongshore } from "../which-longshore.ts";
import { particulars, wordOf } from "../terminal.ts";

export const publish = command({
  name: "publish",
  summary: "send one run request, and perhaps follow it",
  usage: ["[--run ID] --image IMAGE [options] [-- COMMAND ARG ...]", "[--run ID] --file REQUEST.yaml [--follow]"],
  options: {
    run: {
      type: "string",
      value: "ID",
      about: "your id for the run: the same id with the same content is the same run (default: a new id)",
    },
    image: { type: "string", value: "IMAGE", about: "what to run; everything after -- is its command" },
    env: { type: "string", multiple: true, value: "NAME=VALUE", about: "an environment variable; may be repeated" },
    group: {
      type: "string",
      multiple: true,
      value: "NAME",
      about: "a group that may take the run; may be repeated, in order of preference",
    },
    file: { type: "string", value: "FILE", about: 'the whole request as YAML or JSON ("-" reads standard input)' },
    follow: { type: "boolean", about: "wait for the run's end, and print its story meanwhile" },
    config: CONFIG,
  },
  more: `
  longshore publish --image busybox --follow -- sh -c 'echo hi'

Exit 0: the broker has the request; with --follow, the run succeeded. Exit 1: it could not be sent; with --follow, also: the run did not succeed, or was refused.`,
  andMore: true,
  async run(values, words, surroundings) {
    const run = values.run ?? `cli/${randomUUID()}`;
    const request = values.file === undefined ? ofFlags(values, words) : await ofFile(values.file, surroundings);
    const data = { ...request, run };
    await using broker = await brokerOf(values.config, surroundings);
    const following = values.follow === true ? await follow(broker, run, surroundings) : undefined;
    await send(broker, "run.requested", data as CommandInput<"run.requested">, surroundings.signal);
    surroundings.out(`${run}\n`);
    return following === undefined ? 0 : exitCodeOf(await following.ended);
  },
});

interface Flags {
  readonly image?: string | undefined;
  readonly env?: readonly string[] | undefined;
  readonly group?: readonly string[] | undefined;
}

function ofFlags({ image, env = [], group }: Flags, command: readonly string[]): object {
  if (image === undefined) throw new Usage("publish needs --image or --file");
  const variables = env.map((it) => {
    const at = it.indexOf("=");
    if (at < 1) throw new Usage(`--env ${it}: write NAME=VALUE`);
    return [it.slice(0, at), it.slice(at + 1)] as const;
  });
  return {
    image,
    ...(command.length > 0 && { command }),
    ...(variables.length > 0 && { env: Object.fromEntries(variables) }),
    ...(group && { groups: group }),
  };
}

async function ofFile(file: string, surroundings: Surroundings): Promise<object> {
  const path = file === "-" ? "/dev/stdin" : fileAt(file, surroundings);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    const why = error instanceof Error && "code" in error && error.code === "ENOENT" ? "it does not exist" : String(error);
    throw new Failure("halt", "Unreadable", `${path} cannot be read: ${why}`);
  });
  const value = yamlOf(file, text);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Failure("halt", "RequestInvalid", `${file} holds no request: it has to be a map, such as "image: busybox"`);
  return value;
}

/** The request's variables may be secrets, so its problems are told without its text. */
function yamlOf(file: string, text: string): unknown {
  const { value, problems } = readYaml(text);
  const [problem] = problems;
  if (problem === undefined) return value;
  throw new Failure("halt", "Unreadable", `${file} is no YAML: line ${problem.line}, column ${problem.column}: ${problem.why}`);
}

export async function brokerOf(config: string | undefined, surroundings: Surroundings): Promise<Broker> {
  const { broker } = await findLongshore({ config }, surroundings);
  return await openBroker({ ...broker, log: silentLog, clock: systemClock });
}

/** Publishes a command. If the launcher would refuse the command, it is refused here, where its author sees that. */
export async function send<T extends CommandType>(
  broker: Broker,
  type: T,
  data: CommandInput<T>,
  signal: AbortSignal,
): Promise<void> {
  const made = message({ source: "/longshore/cli" }, type, data);
  if (made.kind === "refused") {
    const lines = made.problems.map(({ path, message }) => `  ${path.replace(/^\/data/, "") || "the request"}: ${message}`);
    throw new Failure("refuse", "RequestInvalid", `this cannot be published as it is:\n${lines.join("\n")}`);
  }
  await broker.publish("commands", { id: made.id, key: made.routingKey, body: made.body }, signal);
}

export interface Following {
  /** The event that ended the story; "command.refused"; or "stopped" if nobody waits any more. */
  readonly ended: Promise<string>;
}

/** The exit code for a run's end. */
export const exitCodeOf = (end: string): number => (end === "run.succeeded" ? 0 : end === "stopped" ? 130 : 1);

/** Resolves when the events are bound: call it before publishing, or the first events are missed. */
export async function follow(
  broker: Broker,
  run: string,
  { out, signal }: Pick<Surroundings, "out" | "signal">,
): Promise<Following> {
  const events = await broker.follow("#", { inFlightMax: 64, signal });
  return { ended: untilEnd(events, run, out) };
}

async function untilEnd(events: AsyncIterable<Delivery>, run: string, out: Surroundings["out"]): Promise<string> {
  for await (const delivery of events) {
    await delivery.ack();
    const read = readEvent(delivery.body);
    if (read.kind !== "event" || (read.event.subject !== run && read.event.data["run"] !== run)) continue;
    const { type, sequence, data } = read.event;
    if (type === "command.refused") {
      const problems = data["problems"] as readonly { readonly path: string; readonly message: string }[];
      out(`refused\n${problems.map(({ path, message }) => `  ${path}: ${message}`).join("\n")}\n`);
      return type;
    }
    out(`${String(sequence ?? "").padStart(4)}  ${wordOf(type).padEnd(12)} ${particulars(type, data, true)}\n`);
    if (isTerminal(type)) return type;
  }
  return "stopped";
}
