/**
 * The console before real programs: ledger, broker, pocket, launcher and watcher, with prepared jobs that have a history.
 *
 * The failure this prevents: pages that look right on invented answers, and on nothing that a program has said.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { INSTALLATION } from "@longshore/cli/embedded/home.ts";
import { ConsoleConfig } from "@longshore/console/config.ts";
import { webConsole } from "@longshore/console/main.ts";
import { newLink } from "@longshore/console/sign-in/tokens.ts";
import { type Role, ROLE_NAMES } from "@longshore/contract/access-rule.ts";
import type { RunEventType } from "@longshore/contract/messages/event.ts";
import { writeEvent } from "@longshore/contract/messages/envelope.ts";
import { ONLY_TENANT as TENANT, RunId } from "@longshore/contract/ids.ts";
import { openLog } from "@longshore/runtime/log.ts";
import { openSystem, type System } from "../system.ts";
import { DEFINITIONS } from "./jobs.ts";

const STORY_MOST = 100;

export interface ConsoleStage extends AsyncDisposable {
  readonly url: string;
  readonly system: System;
  /** Makes a link that signs this person in once. */
  link(name: string, role?: Role): Promise<string>;
  /** Asks for a run as an application would, with the name of the person in whose name it asks. */
  ask(definition: string, run: string, parameters?: object, by?: string): Promise<void>;
  stop(run: string, by?: string): Promise<void>;
  /** Notes that this person asked to stop a run and was not let. */
  deny(run: string, by: string): Promise<void>;
  /** Publishes the run's newest event again, as a launcher does that was killed before it noted the first time. */
  repeatEvent(run: string): Promise<void>;
}

/** `more`: other settings of the console. */
export async function consoleStage(more: object = {}): Promise<ConsoleStage> {
  await using parts = new AsyncDisposableStack();
  const definitionsDir = await mkdtemp(path.join(tmpdir(), "longshore-definitions-"));
  parts.defer(() => rm(definitionsDir, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(DEFINITIONS)) await writeFile(path.join(definitionsDir, `${name}.yaml`), text);
  const system = parts.use(await openSystem({ discover: true, launcher: { definitionsDir } }));
  parts.use(await system.launcher());
  parts.use(await system.watcher());

  const { url: ledger } = system.postgres;
  const config = ConsoleConfig.parse({
    installation: INSTALLATION,
    log: { level: "warn" },
    broker: { url: ledger },
    ledger: { url: ledger },
    logKeyFile: path.join(system.home, "log-key"),
    access: ROLE_NAMES.map((role) => ({ who: { team: role }, may: [role] })),
    http: { listen: "127.0.0.1:0", health: "127.0.0.1:0" },
    ...more,
  });
  const stop = new AbortController();
  const up = Promise.withResolvers<Parameters<NonNullable<Parameters<typeof webConsole>[3]>>[0]>();
  const ended = webConsole(config, openLog("console", config.log), stop.signal, async (at) => up.resolve(at));
  ended.catch(up.reject);
  const { url, pages } = await up.promise;
  parts.defer(async () => {
    stop.abort();
    await ended;
  });
  const actor = (name: string) => ({ actor: { name } });
  const kept = parts.move();
  return {
    url,
    system,
    link: (name, role = "admin") => newLink(pages.signIns, url, { name, teams: [role] }),
    ask: async (definition, run, parameters = {}, by = "Jonas Ek") => {
      await pages.audit.note({ person: { name: by }, deed: "run", about: run, command: `stage/${run}` });
      await system.command("run.requested", { run, definition, parameters, ...actor(by) });
    },
    deny: (run, by) => pages.audit.deny({ person: { name: by }, deed: "stop", about: run }),
    stop: (run, by = "Jonas Ek") => system.command("run.cancel", { run, generation: 1, ...actor(by) }),
    repeatEvent: async (run) => {
      const id = RunId.parse(run);
      const newest = (await system.ledger.story(id, 0, STORY_MOST)).at(-1);
      if (newest === undefined) throw new Error(`there is no run ${run}`);
      const { type, sequence, generation, group, data, atMs } = newest;
      const about = { run: id, sequence, generation, group, tenant: TENANT, type: type as RunEventType, data: data as object };
      const body = writeEvent({ ...about, installation: config.installation, time: new Date(atMs).toISOString() });
      const outgoing = { id: `${run}/${sequence}`, key: `${TENANT}.${group ?? "none"}.${type}`, body };
      await system.broker.publish("events", outgoing, stop.signal);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
