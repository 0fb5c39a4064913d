/** For operators: the groups, what they may do with one, and how the whole is. Each deed is a message, as any application would send it. */
import { randomUUID } from "node:crypto";
import { GroupName } from "@longshore/contract/ids.ts";
import type { CommandInput } from "@longshore/contract/messages/command.ts";
import type { Deed } from "@longshore/ledger/pages.ts";
import { within } from "@longshore/runtime/loop.ts";
import type { FastifyInstance, FastifyReply } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { refusals } from "../answers.ts";
import { Groups, Health, Ordered } from "../answers-for-operators.ts";
import { noSuchGroup } from "../problem.ts";
import type { Parts } from "../parts.ts";
import { publish } from "../publish.ts";
import { sentDeed } from "../sent-deed.ts";
import { askerOf } from "../sign-in/person.ts";
import { groupView } from "../views/group.ts";
import { healthView } from "../views/health.ts";

const BROKER_WITHIN_MS = 2_000;

const DEEDS = {
  pause: "Let a group take no more runs.",
  drain: "Let a group take no more runs until it is empty.",
  resume: "Let a group take runs again.",
} as const;
const ordered = { 200: Ordered, 202: Ordered, ...refusals(401, 403, 404, 409, 422, 503) };
const ofGroup = { group: GroupName };
const Pausing = z.strictObject({ ...ofGroup, reason: z.string().trim().min(1).max(200).optional() });

export function groups(plain: FastifyInstance, options: Parts): void {
  const { pages, broker } = options;
  const server = plain.withTypeProvider<ZodTypeProvider>();

  const listed = { summary: "List the groups, and what is in each.", response: { 200: Groups, ...refusals(401, 403, 503) } };
  server.get("/v1/groups", { config: { for: "operate" }, schema: listed }, async () => {
    const [all, atWork, nowMs, hasLauncher] = await Promise.all([
      pages.groups(),
      pages.atWork(),
      pages.now(),
      pages.hasLauncher(),
    ]);
    const at = { nowMs, hasLauncher };
    return { ...at, groups: all.map((it) => groupView(it, atWork.get(it.name), at)) };
  });

  const looked = { summary: "Read how the whole is.", response: { 200: Health, ...refusals(401, 403, 503) } };
  server.get("/v1/health", { config: { for: "operate" }, schema: looked }, async () => {
    const asking = { clock: options.clock, ms: BROKER_WITHIN_MS, signal: options.signal, what: "asking the broker" };
    const [all, nowMs, health, report] = await Promise.all([
      pages.groups(),
      pages.now(),
      pages.health(),
      within(asking, (signal) => broker.inspect(signal)).catch((error: unknown) =>
        error instanceof Error ? error : new Error(String(error)),
      ),
    ]);
    return {
      nowMs,
      rows: healthView(
        { groups: all, health, broker: { status: broker.status(), report, quarantine: options.quarantine } },
        nowMs,
      ),
    };
  });

  for (const deed of ["pause", "drain"] as const)
    server.post(
      `/v1/group/${deed}`,
      { config: { for: "operate" }, schema: { summary: DEEDS[deed], body: Pausing, response: ordered } },
      async (request, reply) => {
        const data = { ...request.body, ...(deed === "drain" && { drain: true }) } as CommandInput<"group.pause">;
        return await answer(reply, data.group, carryOut(options, { deed, type: "group.pause", data }, askerOf(request)));
      },
    );
  server.post(
    "/v1/group/resume",
    { config: { for: "operate" }, schema: { summary: DEEDS.resume, body: z.strictObject(ofGroup), response: ordered } },
    async (request, reply) => {
      const data = request.body as CommandInput<"group.resume">;
      return await answer(reply, data.group, carryOut(options, { deed: "resume", type: "group.resume", data }, askerOf(request)));
    },
  );
}

interface Ordered<T extends "group.pause" | "group.resume"> {
  readonly deed: Deed;
  readonly type: T;
  readonly data: CommandInput<T>;
}

/** 202: the launcher has not answered yet. */
async function answer(reply: FastifyReply, group: string, done: Promise<boolean>): Promise<FastifyReply> {
  const answered = await done;
  return reply.code(answered ? 200 : 202).send({ group, answered });
}

/** True once the launcher says that it is done; false if it says nothing in time. */
async function carryOut<T extends "group.pause" | "group.resume">(
  options: Parts,
  { deed, type, data }: Ordered<T>,
  person: ReturnType<typeof askerOf>,
): Promise<boolean> {
  const { pages } = options;
  const { group } = data;
  if (!(await pages.groups()).some(({ name }) => name === group)) throw noSuchGroup(group);
  const id = `console/group/${group}/${deed}-${randomUUID()}`;
  const isPause = type === "group.pause";
  const answer = await sentDeed(options, {
    run: undefined,
    send: () => publish(options, type, { deed, about: group, id, data }, person),
    isAnswer: (event) =>
      event.type === "command.refused"
        ? event.data.command === id
        : event.type === (isPause ? "group.paused" : "group.resumed") && event.data.group === group,
    refused: "Not done",
  });
  // A launcher tells nothing of a command that changes nothing.
  return answer === "done" || (await pages.groups()).some((it) => it.name === group && it.paused === isPause);
}
