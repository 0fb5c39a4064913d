/**
 * Commands: each becomes a recorded run, a recorded change of one, or a recorded refusal. An unreadable message goes to
 * quarantine; if its id, its source or its run can be read, its refusal is recorded first.
 *
 * The bugs this prevents: anybody who may publish abandons a run, or puts a person's name behind a command (the broker says who
 * sent a message, never the message itself); and a secret value that is written into the ledger with the request that brought it.
 */
import { createHash } from "node:crypto";
import type { Delivery } from "@longshore/broker/port.ts";
import { type Command, FOR_OPERATORS, type Invocation } from "@longshore/contract/messages/command.ts";
import { correlationIdOf } from "@longshore/contract/messages/attributes.ts";
import { readCommand, type ReadCommand, type Refused } from "@longshore/contract/messages/envelope.ts";
import { ONLY_TENANT as TENANT } from "@longshore/contract/ids.ts";
import { type RunRequest } from "@longshore/contract/request/request.ts";
import type { SecretValues } from "@longshore/contract/request/secret-values.ts";
import { durationMs } from "@longshore/contract/units.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import type { Admission } from "@longshore/domain/run/admit.ts";
import { NO_PLAN, planOf } from "@longshore/domain/run/plan.ts";
import { keptOf, resolve } from "@longshore/domain/run/resolve.ts";
import { whyUnusable } from "@longshore/domain/prepared/usable.ts";
import type { Intake, StoredDefinition } from "@longshore/ledger/port.ts";
import type { Definitions } from "../definitions/known.ts";
import type { Parts } from "../parts.ts";
import { changeGroup, isAboutGroup, type RunCommand } from "./change-group.ts";
import type { Outcome } from "./receive.ts";

type Admitting = Pick<
  Parts,
  "admitting" | "ledger" | "keys" | "defaults" | "definitions" | "clock" | "metrics" | "operators" | "log"
>;

export function admit(parts: Admitting): (delivery: Delivery) => Promise<Outcome> {
  return async (delivery) => {
    const read = readCommand(delivery.body);
    if (read.kind === "unreadable") {
      if (read.named !== undefined) await parts.admitting(answered(unreadable(read, delivery.body), delivery));
      parts.metrics.count("longshore_commands_total", { type: "unreadable", outcome: "quarantined" });
      return read;
    }
    const heard = honoured(parts, read, delivery.user);
    const asked = isAboutGroup(heard) ? await changeGroup(parts, heard) : heard;
    if (asked === "done") return { kind: "recorded" };
    const intake = await intakeOf(parts, asked, correlationIdOf(delivery.correlationId));
    const admitted = await parts.admitting(answered(intake, delivery));
    const { run, source, command } = intake;
    // No warning: the sender is told, and must mend it. A person at the screen of `longshore up` may be the sender.
    if (admitted.kind === "refused") parts.log.info("command.refused", { run, source, command, problems: admitted.problems });
    const type = read.kind === "command" ? read.command.type : "invalid";
    parts.metrics.count("longshore_commands_total", { type, outcome: admitted.kind });
    return { kind: "recorded" };
  };
}

function answered(intake: Intake, { replyTo, correlationId: given }: Delivery): Intake {
  const correlationId = correlationIdOf(given);
  return { ...intake, ...(replyTo !== undefined && { replyTo }), ...(correlationId !== undefined && { correlationId }) };
}

/** A missing id or source is replaced by a digest of the bytes: the same message has one refusal, and two messages have two. */
function unreadable({ named, problems }: Extract<ReadCommand, { kind: "unreadable" }>, body: Uint8Array): Intake {
  const digest = createHash("sha256").update(body).digest("hex");
  const { id: command = digest, source = digest, run } = named ?? {};
  return { run, tenant: TENANT, source, command, admission: { kind: "invalid", problems } };
}

type Readable = Exclude<ReadCommand, { kind: "unreadable" }>;

const OPERATORS_ONLY: CommandProblem = {
  path: "/type",
  code: "PolicyRefused",
  message: "Only operators may do this; the launcher's setting `operators` names their broker users.",
};

/**
 * Removes the actor from a command whose sender may not name one. A command for operators alone is refused for others, even if
 * no such run exists.
 */
function honoured({ operators }: Admitting, read: Readable, user: string | undefined): Refused | Command {
  if (read.kind === "refused") return read;
  const { command } = read;
  if (operators === "everyone" || (user !== undefined && operators.includes(user))) return command;
  if (FOR_OPERATORS.includes(command.type)) {
    const { id, source, type, data } = command;
    const run = "run" in data ? data.run : undefined;
    return { kind: "refused", id, source, type, run, problems: [OPERATORS_ONLY] };
  }
  const { actor: _, ...data } = command.data;
  return { ...command, data } as Command;
}

async function intakeOf(parts: Admitting, command: Refused | RunCommand, correlationId: string | undefined): Promise<Intake> {
  if ("problems" in command) {
    const { run, source, id, problems } = command;
    return { run, tenant: TENANT, source, command: id, admission: { kind: "invalid", problems } };
  }
  const { run } = command.data;
  const identity = { run, tenant: TENANT, source: command.source, command: command.id };
  const sealed = (values: SecretValues | undefined): Pick<Intake, "sealed"> =>
    values === undefined ? {} : { sealed: parts.keys.sealValues(run, values) };
  if (command.type === "run.requested")
    return { ...identity, ...(await requestOf(parts, command, correlationId)), ...sealed(command.data.secretValues) };
  const given = command.type === "run.restart" ? command.data.with?.secretValues : undefined;
  return { ...identity, admission: changeOf(command), ...sealed(given) };
}

/** The digest is of what was sent: a definition may change between two deliveries of one request. */
async function requestOf(
  { keys, defaults, definitions, clock }: Admitting,
  { source, data, traceparent }: Extract<Command, { type: "run.requested" }>,
  correlationId: string | undefined,
): Promise<Pick<Intake, "admission" | "request">> {
  const nowMs = clock.now();
  const { run: id, actor, ...asked } = data;
  const digest = keys.digest(TENANT, { run: id, ...asked });
  const found = "definition" in asked ? await ofDefinition(definitions, asked, id) : { request: asked as RunRequest };
  const told = actor ? { actor } : {};
  const run = { id, tenant: TENANT, source, digest, nowMs };
  if ("problems" in found) return { admission: { kind: "run", run: { ...run, plan: NO_PLAN }, told, problems: found.problems } };
  const { definition } = found;
  // From here on nobody sees the values: they are sealed beside the request.
  const { secretValues: _, ...request } = found.request;
  const planned = planOf(request, defaults, id);
  const plan = {
    ...planned,
    ...(definition && { definition: keptOf(definition, planned.parameters) }),
    ...(traceparent !== undefined && { traceparent }),
    ...(correlationId !== undefined && { correlationId }),
  };
  return { admission: { kind: "run", run: { ...run, plan }, told }, request };
}

type Found =
  | { readonly request: RunRequest; readonly definition?: StoredDefinition }
  | { readonly problems: readonly CommandProblem[] };

async function ofDefinition(definitions: Definitions, asked: Invocation, run: string): Promise<Found> {
  const { definition: name } = asked;
  const stored = await definitions.find(name);
  if (stored === undefined) {
    const meant = definitions.nearestTo(name);
    const message = `No definition is named "${name}"${meant === undefined ? "." : `; did you mean "${meant}"?`}`;
    return { problems: [{ path: "/data/definition", code: "DefinitionUnknown", message }] };
  }
  const unusable = whyUnusable(stored);
  if (unusable !== undefined) return { problems: [{ path: "/data/definition", code: "DefinitionUnusable", message: unusable }] };
  if (isBusy(stored)) return { problems: [{ path: "/data/definition", code: "ConcurrencyLimit", message: BUSY }] };
  const resolved = resolve(stored.body, asked, run);
  return resolved.kind === "refused" ? resolved : { request: resolved.request, definition: stored };
}

const BUSY = "What was prepared runs already, started by its schedule or its owner, and one at a time may run.";

/** What is not Longshore's counts as well: two exports at the same time are what the limit is there to prevent. */
const isBusy = ({ prepared, body }: StoredDefinition): boolean =>
  body.concurrency?.then === "refuse" && (prepared?.active ?? 0) > 0;

function changeOf(command: Exclude<RunCommand, { type: "run.requested" }>): Admission {
  switch (command.type) {
    case "run.cancel": {
      const { generation, reason, grace, actor } = command.data;
      const graceMs = grace === undefined ? undefined : durationMs(grace);
      return {
        kind: "cancel",
        generation,
        cancel: { reason, actor, graceSeconds: graceMs === undefined ? undefined : Math.ceil(graceMs / 1000) },
      };
    }
    case "run.restart": {
      const { generation, from, with: given, actor } = command.data;
      const { secretValues, ...corrections } = given ?? {};
      const secretNames = secretValues && Object.keys(secretValues);
      return { kind: "restart", generation, from, with: given && corrections, secretNames, actor };
    }
    case "run.free":
      return { kind: "free" };
    case "run.abandon": {
      const { reason, actor } = command.data;
      return { kind: "abandon", reason, actor };
    }
  }
}
