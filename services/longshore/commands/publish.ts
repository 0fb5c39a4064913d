/** `longshore publish`: sends one command to the broker, like any upstream, and can follow the run's story. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { openBroker } from "@longshore/broker/brokers.ts";
import type { Broker, Outgoing } from "@longshore/broker/port.ts";
import type { CommandInput } from "@longshore/contract/messages/command.ts";
import { readCommand } from "@longshore/contract/messages/envelope.ts";
import type { GroupName, RunId } from "@longshore/contract/ids.ts";
import { canonical } from "@longshore/contract/json.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { nearest } from "@longshore/contract/problems/schema-problems.ts";
import { servedNames, unknownGroups } from "@longshore/domain/group/choose-group.ts";
import { OTHER_CONTENT } from "@longshore/contract/problems/problem-codes.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import { resolve } from "@longshore/domain/run/resolve.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import type { Ledger, StoredDefinition } from "@longshore/ledger/port.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { readYaml } from "@longshore/runtime/config/yaml-text.ts";
import { command as declared, CONFIG, configWords, during, fileAt, meant, type Surroundings, Usage } from "../command.ts";
import { GROUP } from "../embedded/home.ts";
import { commandOf, refusedHere } from "../checked-command.ts";
import { exitCodeOf, type Following, follow } from "../following.ts";
import { hasPocket, placeOf } from "../place.ts";
import { sendingIn } from "../sending.ts";
import { statusText } from "../status.ts";
import { isWithoutCommand, NO_COMMAND } from "../terminal.ts";
import { GOES_ON, watch } from "../watching.ts";
import { findLongshore } from "../which-longshore.ts";
import { jsonOrText } from "./runs/corrections.ts";
import { outputOf } from "./runs/logs.ts";
import { statusOfRecord, STORY_MOST } from "./runs/page.ts";
import { SECRET, secretValuesOf } from "./secret-files.ts";

/** The options that give the request's fields. */
const OPTIONS: Readonly<Record<string, string>> = {
  image: "--image",
  env: "--env",
  groups: "--group",
  definition: "--definition",
  parameters: "-p",
  secretValues: "--secret",
  command: "the command after --",
};

export const publish = declared({
  name: "publish",
  summary: "send one run request, and perhaps follow it",
  usage: [
    "[--run ID] --image IMAGE [options] [-- COMMAND ARG ...]",
    "[--run ID] --definition NAME [-p NAME=VALUE ...] [options]",
    "--file REQUEST.yaml [--run ID] [--follow]",
  ],
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
    definition: {
      type: "string",
      value: "NAME",
      namedBy: { list: "definitions list", field: "name" },
      about: "run this definition: `longshore definitions list` names them",
    },
    parameter: {
      type: "string",
      multiple: true,
      short: "p",
      value: "NAME=VALUE",
      about: "a parameter of the definition; may be repeated. A value that is no text in the definition is read as JSON",
    },
    secret: SECRET,
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
  longshore publish --definition greet --follow
  longshore publish --file request.yaml --follow

A request, as --file takes it; \`packages/contract/README.md\` has all fields, and their defaults:

    run: orders/8812/export
    image: registry.example/export:1.4
    command: [python, export.py]
    env:
      ORDER: "8812"
    groups: [prod-a, prod-b]
    resources:
      limits: { cpu: "1", memory: 512Mi }
    deadline: 2h
    retries: { max: 3, on: [never-started, infrastructure] }

Exit 0: the broker has the request, and a launcher decides on it; with --follow, the run succeeded. Exit 1: it could not be sent, or its id belongs to a run with other content; with --follow, also: the run did not succeed, or was refused.`,
  andMore: true,
  async run(values, words, surroundings) {
    const request =
      values.file !== undefined
        ? await ofFile(values.file, values, words, surroundings)
        : values.definition !== undefined
          ? await ofDefinition(values.definition, values, words, surroundings)
          : ofFlags(values, words);
    const { run } = request;
    const options = { ...(values.file === undefined && OPTIONS), ...(values.run !== undefined && { run: "--run" }) };
    const command = commandOf("run.requested", request as CommandInput<"run.requested">, options);
    const more = `${run}${configWords(values.config)}`;
    using sending = sendingIn(surroundings, {
      no: "stopped before it was published: nothing was sent.",
      perhaps: `stopped while it was sent: \`longshore runs show ${more}\` says whether a launcher has it.`,
    });
    const longshore = await findLongshore({ config: values.config }, surroundings);
    const { groups: wanted = [GROUP] } = request as { readonly groups?: readonly string[] };
    const isWarned = wanted.includes(GROUP) && hasPocket(longshore) && isWithoutCommand(request as never);
    if (isWarned) surroundings.note?.(`${titled(NO_COMMAND)} Nothing will run. With a command:`, WITH_COMMAND);
    await using broker = await brokerOf(values.config, surroundings);
    const send = () => sending.send(() => sendTo(broker, command, surroundings));
    if (values.follow !== true) {
      const { known, unknownGroups } = await askLedger(command.body, request, values.config, surroundings);
      await send();
      surroundings.out(`${run}\n`);
      if (known === undefined)
        surroundings.note?.("the broker has it; once a launcher has taken it, this shows it:", `longshore runs follow ${more}`);
      else surroundings.note?.(known.says, `longshore runs show ${more}`);
      if (known === undefined && unknownGroups !== undefined)
        surroundings.note?.(`${unknownGroups}; this ends the wait:`, `longshore runs cancel ${more}`);
      return known?.refused === true ? 1 : 0;
    }
    const { config } = values;
    await using ledger = await ledgerOf(config, surroundings);
    const unknownGroups = unknownGroupsIn(request["groups"], await ledger.groups());
    if (unknownGroups !== undefined) surroundings.note?.(`${unknownGroups}.`);
    const place = (record: RunRecord) => placeOf(record, longshore, config);
    const about = { run: run as RunId, command: command.id, place, isWarned, readOutput: outputOf(longshore.groupsFile) };
    using following = await follow({ broker, ledger, ...about }, surroundings);
    await send();
    surroundings.out(`${run}\n`);
    const onStop = () => (following.found !== undefined || following.isTaken() ? GOES_ON : UNTAKEN);
    const isEnded = () => endOf(following, command.body, surroundings);
    return exitCodeOf(await watch({ run: run as RunId, config, onStop }, isEnded, surroundings));
  },
});

const titled = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const WITH_COMMAND = "longshore publish --image IMAGE --follow -- sh -c 'echo hi'";

const UNTAKEN = {
  says: "stopped watching. The request waits at the broker, since no launcher has taken it yet: it needs a launcher that runs. Then this shows it:",
  commands: ["follow"],
} as const;

interface Known {
  readonly says: string;
  readonly refused: boolean;
}

interface Answer {
  readonly known?: Known | undefined;
  readonly unknownGroups?: string | undefined;
}

/** Publishing needs no ledger: if the ledger cannot be asked, nothing is said of what it knows. */
async function askLedger(
  body: Uint8Array,
  request: Request,
  config: string | undefined,
  surroundings: Surroundings,
): Promise<Answer> {
  try {
    await using ledger = await ledgerOf(config, surroundings);
    return {
      known: await knownOf(ledger, body, request.run as RunId),
      unknownGroups: unknownGroupsIn(request["groups"], await ledger.groups()),
    };
  } catch (error) {
    if (error instanceof Failure) return {};
    throw error;
  }
}

/** Says what becomes of a request whose id is taken: the broker takes the request all the same, which looks like success. */
async function knownOf(ledger: Pick<Ledger, "find" | "story">, body: Uint8Array, run: RunId): Promise<Known | undefined> {
  const found = await ledger.find(run);
  if (found === undefined) return undefined;
  if (!isSame(found, body)) return { says: `refused. ${OTHER_CONTENT}`, refused: true };
  const { text } = statusText(statusOfRecord(found.record, await ledger.story(run, 0, STORY_MOST)));
  const what = found.record.run.state === "ended" ? "already ran" : "was asked for already";
  return { says: `${what}: ${text}; it is not run again`, refused: false };
}

/** A wait for a group that nobody has lasts a day, and most often a name is misspelt. `undefined`: there is such a group. */
export function unknownGroupsIn(wanted: unknown, groups: Parameters<typeof servedNames>[0]["groups"]): string | undefined {
  const names = (wanted ?? []) as readonly string[];
  const served = servedNames({ groups, nowMs: systemClock.now() });
  const unknown = unknownGroups(names, groups, served);
  if (unknown === undefined) return undefined;
  const [first = "", ...others] = names;
  const near = others.length === 0 ? nearest(first, served) : undefined;
  const asks = near === undefined ? "" : ` Did you mean ${near}?`;
  return `${unknown}${asks} The run waits until there is one`;
}

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
  if (!isSame(found, body)) return await toRefusal();
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
  readonly definition?: string | undefined;
  readonly parameter?: readonly string[] | undefined;
  readonly secret?: readonly string[] | undefined;
  readonly config?: string | undefined;
}

interface Request {
  readonly run: string;
  readonly [field: string]: unknown;
}

function ofFlags({ run = newRun(), image, env = [], group, parameter, secret }: Flags, command: readonly string[]): Request {
  if (image === undefined) throw new Usage("publish needs --image, --definition or --file");
  if (secret !== undefined) throw new Usage("--secret gives a value that the steps name: say which, with --definition or --file");
  if (parameter !== undefined) throw new Usage("-p gives a parameter of a definition: say which one with --definition");
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

/** The definition says which parameters are texts, and is asked whether it would take these. */
async function ofDefinition(name: string, flags: Flags, words: readonly string[], surroundings: Surroundings): Promise<Request> {
  const { run = newRun(), group, parameter = [], config } = flags;
  const beside = (["image", "env"] as const).find((it) => flags[it] !== undefined);
  if (beside !== undefined) throw new Usage(`--definition says what runs: --${beside} cannot change that`);
  if (words.length > 0) throw new Usage(`--definition says what runs: it takes no command "${words.join(" ")}"`);
  const { body } = await definitionNamed(name, config, surroundings);
  const given = parameter.map((it) => {
    const at = it.indexOf("=");
    if (at < 1) throw new Usage(`-p ${it}: write NAME=VALUE`);
    const [key, text] = [it.slice(0, at), it.slice(at + 1)];
    const type = body.parameters?.properties?.[key]?.type;
    return [key, type === "string" ? text : (jsonOrText(text) ?? text)] as const;
  });
  const parameters = given.length === 0 ? {} : { parameters: Object.fromEntries(given) };
  const secrets = await secretValuesOf(flags.secret, surroundings);
  const request = { definition: body.name, ...parameters, ...secrets, ...(group && { groups: group as GroupName[] }) };
  const resolved = resolve(body, request, run);
  if (resolved.kind === "refused") throw refusedHere(resolved.problems, request, OPTIONS);
  return { run, ...request };
}

/** Crockford's letters and digits, none of which looks like another. */
const LETTERS = "0123456789abcdefghjkmnpqrstvwxyz";

/** An id that a person can read out: the day, the time, and one of 33 million words, so that no two of a second are alike. */
export function newRun(nowMs = systemClock.now(), chance: Uint8Array = randomBytes(5)): string {
  const [, month, day, hour, minute, second] = new Date(nowMs).toISOString().split(/[-T:.]/);
  const word = Array.from(chance, (it) => LETTERS[it % LETTERS.length]).join("");
  return `cli/${month}${day}-${hour}${minute}${second}-${word}`;
}

/**
 * The file is the whole request. An option that would change it is refused: whichever of the two won, something that somebody
 * wrote would be ignored.
 */
async function ofFile(file: string, flags: Flags, words: readonly string[], surroundings: Surroundings): Promise<Request> {
  const beside = (["image", "env", "group", "parameter", "definition"] as const).find((it) => flags[it] !== undefined);
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
  // A `run` that is no text is judged with the other fields of the request.
  return { ...value, ...(await secretValuesOf(flags.secret, surroundings)), run: run as string };
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

export async function definitionNamed(
  name: string,
  config: string | undefined,
  surroundings: Surroundings,
): Promise<StoredDefinition> {
  await using ledger = await ledgerOf(config, surroundings);
  const all = await ledger.definitions();
  const found = all.find(({ body }) => body.name === name);
  if (found !== undefined) return found;
  const names = all.map(({ body }) => body.name);
  const there = names.length === 0 ? "there is none" : `there are ${names.join(", ")}`;
  throw new Failure("refuse", "DefinitionUnknown", `no definition is named "${name}"; ${there}${meant(name, names)}`);
}

/** A run of a definition keeps what the definition made of the request: all that was sent is in there. */
function isSame({ request, record }: Kept, body: Uint8Array): boolean {
  const sent = requestOf(body);
  if (!("definition" in sent)) return canonical(request) === canonical(sent);
  const { definition, ...fields } = sent;
  return record.run.plan.definition?.name === definition && isWithin(fields, request);
}

type Kept = NonNullable<Awaited<ReturnType<Ledger["find"]>>>;

function isWithin(part: unknown, whole: unknown): boolean {
  if (typeof part !== "object" || part === null || Array.isArray(part)) return canonical(part) === canonical(whole);
  if (typeof whole !== "object" || whole === null) return false;
  return Object.entries(part).every(([name, value]) => isWithin(value, (whole as Readonly<Record<string, unknown>>)[name]));
}

/** The request as the ledger keeps it. */
function requestOf(body: Uint8Array): object {
  const read = readCommand(body);
  if (read.kind !== "command" || read.command.type !== "run.requested") throw new TypeError("a request that was made is read");
  const { run: _run, actor: _actor, secretValues: _sealed, ...request } = read.command.data;
  return request;
}
