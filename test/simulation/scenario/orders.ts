/**
 * Messages that upstream publishes in a scenario: requests, the same requests again, other requests under the same id, cancels
 * and restarts at any moment, and messages that nobody can read.
 *
 * The bug this prevents: a simulation in which upstream always behaves well.
 */
import type { CommandInput } from "@longshore/contract/messages/command.ts";
import { message } from "@longshore/client/request.ts";
import type { Chance } from "./chance.ts";
import type { Planned } from "./scenario.ts";

/** One message of upstream. It is published until the broker confirms it, always with the same id. */
export interface Asked {
  readonly kind: "run" | "cancel" | "restart" | "free" | "abandon" | "invalid" | "unreadable";
  readonly id: string;
  readonly source: string;
  readonly run: string;
  readonly key: string;
  readonly body: Uint8Array;
}

interface Setting {
  readonly chaosMs: number;
  readonly groups: readonly string[];
}

const SOURCE = "/upstream";

export function orders(chance: Chance, setting: Setting): readonly Planned[] {
  const { chaosMs } = setting;
  let count = 0;
  const planned: Planned[] = [];
  const publish = (atMs: number, make: (id: string) => Asked): void =>
    void planned.push({ atMs: Math.max(0, atMs), kind: "publish", asked: make(`m${++count}`) });

  const runs = chance.pick([1, 2, 3, 5, 8]);
  for (let n = 1; n <= runs; n++) {
    const run = `run-${n}`;
    const atMs = chance.between(0, Math.floor(chaosMs * 0.6));
    const request = chance.is(0.3) ? pipeline(chance, run, setting) : simple(chance, run, setting);
    publish(atMs, (id) => asked("run", id, run, "run.requested", request));
    const near = (): number => atMs + chance.pick([-2_000, -50, 50, 500, 2_000, 8_000, 30_000, 120_000, 400_000]);
    if (chance.is(0.3)) publish(near(), (id) => asked("run", id, run, "run.requested", request));
    if (chance.is(0.1)) publish(near(), (id) => asked("run", id, run, "run.requested", other(request)));
    if (chance.is(0.4)) publish(near(), (id) => asked("cancel", id, run, "run.cancel", cancel(chance, run)));
    if (chance.is(0.1)) publish(near(), (id) => asked("cancel", id, run, "run.cancel", cancel(chance, run)));
    if (chance.is(0.25))
      publish(atMs + chance.between(1, 15) * 60_000, (id) =>
        asked("restart", id, run, "run.restart", { run, from: chance.pick(["failed", "start"]) }),
      );
  }
  if (chance.is(0.15)) publish(chance.between(0, chaosMs), (id) => asked("cancel", id, "never", "run.cancel", { run: "never" }));
  if (chance.is(0.2))
    publish(chance.between(0, chaosMs), (id) => ({
      ...bytes(id),
      kind: "unreadable",
      body: Buffer.from(chance.pick(["", "{", "\u0000", '{"specversion":"9"}'])),
    }));
  if (chance.is(0.2)) publish(chance.between(0, chaosMs), (id) => invalid(id));
  return planned;
}

/** Many small runs of different priorities at about the same time, so that lines form before the groups. */
export const crowd = (chance: Chance, groups: readonly string[]): readonly Planned[] =>
  Array.from({ length: chance.between(8, 16) }, (_, n) => {
    const run = `crowd-${n + 1}`;
    const request: CommandInput<"run.requested"> = {
      run,
      image: "registry.invalid/simulated:1",
      env: { CONTENT: run },
      priority: chance.between(0, 3),
      ...(chance.is(0.6) && { groups: groups.filter((_, index) => index === n % groups.length) }),
      waitFor: "40m",
      startWithin: "4m",
      deadline: "5m",
      keepFor: { succeeded: "0s", failed: "0s" },
    };
    return { atMs: chance.between(0, 180_000), kind: "publish", asked: asked("run", `c${n + 1}`, run, "run.requested", request) };
  });

/**
 * Runs with concurrency keys. In some scenarios all runs of a key have its limit, in others each has its own. Some may not wait,
 * and some are cancelled or restarted.
 */
export function keyed(chance: Chance): readonly Planned[] {
  const isMixed = chance.is(0.4);
  const limits = { one: chance.pick([1, 1, 2]), other: chance.pick([1, 2, 3]) } as const;
  let count = 0;
  return Array.from({ length: chance.between(4, 8) }, (_, n) => {
    const run = `keyed-${n + 1}`;
    const atMs = chance.between(0, 180_000);
    const key = chance.pick(["one", "one", "other"] as const);
    const limit = isMixed ? chance.between(1, 3) : limits[key];
    const work = { image: "registry.invalid/simulated:1", env: { CONTENT: run } };
    const steps = [
      { name: "first", ...work },
      { name: "second", ...work, needs: ["first"] },
    ];
    const request: CommandInput<"run.requested"> = {
      run,
      ...(chance.is(0.4) ? { steps } : work),
      concurrency: { key, limit, then: chance.is(0.2) ? "refuse" : "queue" },
      priority: chance.pick([0, 0, 0, 1, 2]),
      waitFor: "40m",
      startWithin: "4m",
      deadline: "5m",
      retries: { max: 1, on: ["never-started", "infrastructure", "failure"], backoff: { first: "20s", most: "1m" } },
      keepFor: { succeeded: "0s", failed: "1h" },
    };
    const publish = (whenMs: number, make: (id: string, run: string) => Asked): Planned => ({
      atMs: whenMs,
      kind: "publish",
      asked: make(`k${++count}`, run),
    });
    const laterMs = (): number => atMs + chance.between(1, 300) * 1_000;
    return [
      publish(atMs, (id) => asked("run", id, run, "run.requested", request)),
      ...(chance.is(0.2) ? [publish(laterMs(), cancelOf)] : []),
      ...(chance.is(0.3) ? [publish(laterMs(), restartOf)] : []),
    ];
  }).flat();
}

const bytes = (id: string): Omit<Asked, "kind" | "body"> => ({ id, source: SOURCE, run: "", key: "run.requested" });

function asked<T extends "run.requested" | "run.cancel" | "run.restart" | "run.free" | "run.abandon">(
  kind: Asked["kind"],
  id: string,
  run: string,
  type: T,
  data: CommandInput<T>,
): Asked {
  const made = message({ source: SOURCE, id }, type, data);
  if (made.kind === "refused") throw new Error(`the scenario made an invalid command: ${JSON.stringify(made.problems)}`);
  return { kind, id, source: SOURCE, run, key: made.routingKey, body: made.body };
}

/** A message with a readable envelope and unreadable data: it is refused with every problem. */
function invalid(id: string): Asked {
  const body = {
    specversion: "1.0",
    id,
    source: SOURCE,
    type: "dev.longshore.run.requested",
    data: { run: `bad-${id}`, image: "" },
  };
  return { ...bytes(id), kind: "invalid", body: Buffer.from(JSON.stringify(body)) };
}

/** A value that names a variable of the container: the program must get it as it is. */
const SAID = { parameters: { said: "$$(CONTENT) $(CONTENT) $" }, args: ["${{ parameters.said }}"] };

/** The Job's content is its run's id: so a Job that does another run's work is found. */
export const requestOf = (id: string, request: CommandInput<"run.requested">): Asked =>
  asked("run", id, request.run, "run.requested", "steps" in request ? request : { env: { CONTENT: request.run }, ...request });

export const restartOf = (id: string, run: string, from: "start" | "failed" = "start"): Asked =>
  asked("restart", id, run, "run.restart", { run, from });

export const freeOf = (id: string, run: string): Asked => asked("free", id, run, "run.free", { run });

export const abandonOf = (id: string, run: string): Asked => asked("abandon", id, run, "run.abandon", { run });

export const cancelOf = (id: string, run: string): Asked => asked("cancel", id, run, "run.cancel", { run });

function simple(chance: Chance, run: string, setting: Setting): CommandInput<"run.requested"> {
  return {
    run,
    image: "registry.invalid/simulated:1",
    env: { CONTENT: run },
    ...SAID,
    ...(chance.is(0.2) && { outputs: ["rows"] }),
    ...limits(chance, setting),
  };
}

function pipeline(chance: Chance, run: string, setting: Setting): CommandInput<"run.requested"> {
  const step = (name: string, needs: string[], when?: "success" | "failure" | "always") => ({
    name,
    image: "registry.invalid/simulated:1",
    env: { CONTENT: run },
    args: SAID.args,
    needs,
    ...(when && { when }),
  });
  const steps = chance.pick([
    [step("first", []), { ...step("second", ["first"]), if: "${{ parameters.go }}" }],
    [step("left", []), step("right", []), step("join", ["left", "right"])],
    [step("work", []), step("repair", ["work"], "failure"), step("tidy", ["work"], "always")],
  ]);
  // In large scenarios, some runs skip a step by its own `if`. Chance is not asked, so that what the seeds make stays as it was.
  const go = !/[5-8]$/.test(run);
  return { run, steps, parameters: { ...SAID.parameters, go }, ...limits(chance, setting) };
}

const other = (request: CommandInput<"run.requested">): CommandInput<"run.requested"> => ({
  ...request,
  priority: 7,
  labels: { other: "content" },
});

const cancel = (chance: Chance, run: string): CommandInput<"run.cancel"> => ({
  run,
  ...(chance.is(0.2) && { generation: chance.pick([1, 2]) }),
  ...(chance.is(0.3) && { grace: "5s" }),
});

type Retried = "never-started" | "infrastructure" | "failure";

function limits(chance: Chance, { groups }: Setting) {
  return {
    ...(chance.is(0.3) && { groups: groups.toReversed() }),
    ...(chance.is(0.2) && { priority: chance.between(-5, 5) }),
    waitFor: chance.pick(["3m", "15m", "40m"]),
    startWithin: chance.pick(["1m", "4m", "10m"]),
    deadline: chance.pick(["1m", "5m", "15m"]),
    retries: { max: chance.pick([0, 1, 2]), on: chance.pick<Retried[]>([["never-started"], ["never-started", "infrastructure", "failure"]]), backoff: { first: "5s", most: "1m" } }, // biome-ignore format: one value
    keepFor: { succeeded: chance.pick(["0s", "1m", "1h"]), failed: chance.pick(["0s", "1m", "1h"]) },
  };
}
