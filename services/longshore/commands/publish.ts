/** `longshore publish`: sends one command to the broker, like any upstream, and can follow the run's story. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { openBroker } from "@longshore/broker/open.ts";
import type { Broker, Delivery } from "@longshore/broker/port.ts";
import { message } from "@longshore/client/request.ts";
import type { CommandInput, CommandType } from "@longshore/contract/command.ts";
import { readEvent } from "@longshore/contract/envelope.ts";
import { isTerminal } from "@longshore/contract/event.ts";
import { Failure } from "@longshore/contract/problem.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { readYaml } from "@longshore/runtime/config/yaml-text.ts";
import { asUsage, type Command, type Surroundings, Usage } from "../command.ts";
import { findLongshore } from "../which-longshore.ts";
import { particulars, wordOf } from "../terminal.ts";

const HELP = `longshore publish: sends one run request to the broker.

  longshore publish [--run ID] --image IMAGE [options] [-- COMMAND ARG ...]
  longshore publish [--run ID] --file REQUEST.yaml [--follow]

  --run ID          your id for the run: the same id with the same content is the same run (default: a new id)
  --image IMAGE     what to run; everything after -- is its command
  --env NAME=VALUE  an environment variable; may be repeated
  --group NAME      a group that may take the run; may be repeated, in order of preference
  --file FILE       the whole request as YAML or JSON ("-" reads standard input)
  --follow          print the run's story until the run ends; exit 1 unless it succeeded
  --config FILE     a launcher's config file (default: the Longshore that \`longshore up\` runs from this folder)

  longshore publish --image busybox --follow -- sh -c 'echo hi'
`;

export const publish: Command = {
  summary: "send one run request, and perhaps follow it",
  help: HELP,
  async run(args, surroundings) {
    const { values, positionals } = parse_(args);
    const run = values.run ?? `cli/${randomUUID()}`;
    const request = values.file === undefined ? ofFlags(values, positionals) : await ofFile(values.file);
    const data = { ...request, run };
    await using broker = await brokerOf(values.config, surroundings);
    const following = values.follow === true ? await follow(broker, run, surroundings) : undefined;
    await send(broker, "run.requested", data as CommandInput<"run.requested">, surroundings.signal);
    surroundings.out(`${run}\n`);
    return following === undefined ? 0 : exitCodeOf(await following.ended);
  },
};

function parse_(args: readonly string[]) {
  return asUsage(() =>
    parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        run: { type: "string" }, image: { type: "string" }, env: { type: "string", multiple: true }, group: { type: "string", multiple: true },
        file: { type: "string" }, follow: { type: "boolean" }, config: { type: "string" },
      },
    }),
  ); // biome-ignore format: one option a word
}

function ofFlags(
  { image, env = [], group }: { image?: string; env?: string[]; group?: string[] },
  command: readonly string[],
): object {
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

async function ofFile(file: string): Promise<object> {
  const text = await readFile(file === "-" ? "/dev/stdin" : file, "utf8").catch((error: unknown) => {
    throw new Failure("halt", "Unreadable", `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
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
