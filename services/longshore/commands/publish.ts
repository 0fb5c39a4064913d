/** `longshore publish`: sends one command to the broker, like any upstream, and can follow the run's story. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { openBroker } from "@longshore/broker/brokers.ts";
import type { Broker, Outgoing } from "@longshore/broker/port.ts";
import { message } from "@longshore/client/request.ts";
import type { CommandInput, CommandType } from "@longshore/contract/command.ts";
import { readCommand } from "@longshore/contract/envelope.ts";
import type { RunId } from "@longshore/contract/ids.ts";
import { canonical } from "@longshore/contract/json.ts";
import { Failure } from "@longshore/contract/problem.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { readYaml } from "@longshore/runtime/config/yaml-text.ts";
import { command as declared, CONFIG, during, fileAt, type Surroundings, Usage } from "../command.ts";
import { exitCodeOf, type Following, follow } from "../following.ts";
import { placeOf } from "../place.ts";
import { findLongshore } from "../which-longshore.ts";

export const publish = declared({
  name: "publish",
  summary: "send one run request, and perhaps follow it",
  usage: ["[--run ID] --image IMAGE [options] [-- COMMAND ARG ...]", "--file REQUEST.yaml [--run ID] [--follow]"],
  options: {
    run: {
      type: "string",
      value: "ID",
      about: "your id for the run: the same id with the same content is the same run (default: the file's, or a new id)",
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
    follow: {
      type: "boolean",
      about:
        "print the run's story until the run ends, with its output. A run that is over already is not run again: its story is printed",
    },
    config: CONFIG,
  },
  more: `
  longshore publish --image busybox --follow -- sh -c 'echo hi'

Exit 0: the broker has the request; with --follow, the run succeeded. Exit 1: it could not be sent; with --follow, also: the run did not succeed, or was refused.`,
  andMore: true,
  async run(values, words, surroundings) {
    const request = values.file === undefined ? ofFlags(values, words) : await ofFile(values.file, values, words, surroundings);
    const command = commandOf("run.requested", request as CommandInput<"run.requested">);
    const { run } = request;
    await using broker = await brokerOf(values.config, surroundings);
    if (values.follow !== true) {
      await sendTo(broker, command, surroundings);
      surroundings.out(`${run}\n`);
      return 0;
    }
    const { config } = values;
    await using ledger = await ledgerOf(config, surroundings);
    const longshore = await findLongshore({ config }, surroundings);
    const place = (record: RunRecord) => placeOf(record, longshore, config);
    const following = await follow({ broker, ledger, run: run as RunId, command: command.id, config, place }, surroundings);
    await sendTo(broker, command, surroundings);
    surroundings.out(`${run}\n`);
    return exitCodeOf(await endOf(following, command.body, surroundings));
  },
});

/**
 * Nothing happens to a run that was asked for before, so no event would ever tell of this request: it is recognised by its
 * content, as the launcher does it.
 */
async function endOf(
  { found, soFar, toEnd, toRefusal }: Following,
  body: Uint8Array,
  { out }: Pick<Surroundings, "out">,
): Promise<string> {
  if (found === undefined) return await toEnd();
  if (canonical(found.request) !== canonical(requestOf(body))) return await toRefusal();
  out(
    found.record.run.state === "ended" ? "already ran; this is its story\n" : "was asked for already; this is its story so far\n",
  );
  return (await soFar()) ?? (await toEnd());
}

interface Flags {
  readonly run?: string | undefined;
  readonly image?: string | undefined;
  readonly env?: readonly string[] | undefined;
  readonly group?: readonly string[] | undefined;
}

interface Request {
  readonly run: string;
  readonly [field: string]: unknown;
}

function ofFlags({ run = newRun(), image, env = [], group }: Flags, command: readonly string[]): Request {
  if (image === undefined) throw new Usage("publish needs --image or --file");
  const variables = env.map((it) => {
    const at = it.indexOf("=");
    if (at < 1) throw new Usage(`--env ${it}: write NAME=VALUE`);
    return [it.slice(0, at), it.slice(at + 1)] as const;
  });
  return {
    run,
    image,
    ...(command.length > 0 && { command }),
    ...(variables.length > 0 && { env: Object.fromEntries(variables) }),
    ...(group && { groups: group }),
  };
}

const newRun = (): string => `cli/${randomUUID()}`;

/**
 * The file is the whole request: what an option would add to it or take from it is refused, since either choice would run
 * something that somebody did not write.
 */
async function ofFile(file: string, flags: Flags, words: readonly string[], surroundings: Surroundings): Promise<Request> {
  const beside = (["image", "env", "group"] as const).find((it) => flags[it] !== undefined);
  if (beside !== undefined) throw new Usage(`--file holds the whole request: write what --${beside} says into ${file}`);
  if (words.length > 0) throw new Usage(`--file holds the whole request: write the command "${words.join(" ")}" into ${file}`);
  const path = file === "-" ? "/dev/stdin" : fileAt(file, surroundings);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    const why = error instanceof Error && "code" in error && error.code === "ENOENT" ? "it does not exist" : String(error);
    throw new Failure("halt", "Unreadable", `${path} cannot be read: ${why}`);
  });
  const value = yamlOf(file, text);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Failure("halt", "RequestInvalid", `${file} holds no request: it has to be a map, such as "image: busybox"`);
  const run = "run" in value ? value.run : (flags.run ?? newRun());
  if (flags.run !== undefined && flags.run !== run)
    throw new Usage(`${file} has the run ${JSON.stringify(run)}, and --run says "${flags.run}": leave one of them out`);
  // What is no text is judged with the other fields of the request.
  return { ...value, run: run as string };
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
  return await during(surroundings, "waiting for the broker", () =>
    openBroker({ ...broker, log: silentLog, clock: systemClock }),
  );
}

export const sendTo = (broker: Pick<Broker, "publish">, command: Outgoing, surroundings: Surroundings): Promise<unknown> =>
  during(surroundings, "waiting for the broker to take it", () => broker.publish("commands", command, surroundings.signal));

export async function ledgerOf(config: string | undefined, surroundings: Surroundings): Promise<Ledger> {
  const { ledgerUrl, installation } = await findLongshore({ config }, surroundings);
  // These commands start nothing, so they never name a Job.
  const jobName = (): never => {
    throw new Error("this command begins no attempts");
  };
  const open = () => openLedger({ url: ledgerUrl, installation, jobName, migrate: false, log: silentLog });
  return await during(surroundings, "waiting for the ledger", open);
}

/** If the launcher would refuse the command, it is refused here, where its author sees that. */
export function commandOf<T extends CommandType>(type: T, data: CommandInput<T>): Outgoing {
  const made = message({ source: "/longshore/cli" }, type, data);
  if (made.kind === "message") return { id: made.id, key: made.routingKey, body: made.body };
  const lines = made.problems.map(({ path, message }) => `  ${path.replace(/^\/data/, "") || "the request"}: ${message}`);
  throw new Failure("refuse", "RequestInvalid", `this cannot be published as it is:\n${lines.join("\n")}`);
}

/** The request as the ledger keeps it. */
function requestOf(body: Uint8Array): object {
  const read = readCommand(body);
  if (read.kind !== "command" || read.command.type !== "run.requested") throw new TypeError("a request that was made is read");
  const { run: _run, actor: _actor, ...request } = read.command.data;
  return request;
}
