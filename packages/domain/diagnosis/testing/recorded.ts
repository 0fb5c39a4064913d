/**
 * Recordings in fixtures/ of a real cluster's answers and objects when something went wrong, and the diagnosis that a person is
 * told.
 *
 * The failure this prevents: rules written against objects that somebody imagined. `npm run fixtures` records them anew.
 */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { CAUSES } from "../../attempt/moves/move.ts";
import { facts, type JobAndPods } from "../../watch/facts.ts";
import { seeEvent, seeJob, seePod } from "../../watch/seen.ts";
import { classifyCreate, diagnoseReply } from "../replies.ts";
import { diagnoseTransport } from "../transport.ts";

export interface Recorded {
  /** The cause, as a clause: "the namespace has a quota of two Jobs, and both are there". */
  readonly happened: string;
  /** "v1.34.4" */
  readonly kubernetes: string;
  readonly seen: Recording;
  readonly told: Pick<Diagnosis, "code" | "sentence" | "hint">;
}

export type Recording =
  /** An API server's answer to a request of ours. */
  | { readonly kind: "reply"; readonly to: "create" | "another request"; readonly status: number; readonly body: unknown }
  /** No answer came: the error, and the errors inside it. */
  | { readonly kind: "silence"; readonly error: Silence }
  /** A Job, its pods, and the Events about them, as the API shows them; `earlier`: a watcher's earlier view of them. */
  | (Shown & { readonly kind: "objects"; readonly events: readonly unknown[]; readonly earlier?: Shown });

interface Shown {
  readonly job: unknown;
  readonly pods: readonly unknown[];
}

export interface Silence {
  readonly message: string;
  readonly code?: string;
  readonly cause?: Silence;
}

/** Diagnoses in the way that launcher and watcher do. */
export function toldOf(seen: Recording): Diagnosis | undefined {
  switch (seen.kind) {
    case "silence":
      return diagnoseTransport(seen.error);
    case "reply":
      return toldOfReply(seen);
    case "objects":
      return toldOfObjects(seen);
  }
}

function toldOfReply({ to, status, body }: Extract<Recording, { kind: "reply" }>): Diagnosis | undefined {
  const where = { group: "prod-a", namespace: "batch" };
  if (to !== "create") return diagnoseReply({ status, body }, where);
  const reply = classifyCreate({ status, body }, where);
  return reply.kind === "exists" ? undefined : reply.diagnosis;
}

function toldOfObjects({ earlier, events, ...now }: Extract<Recording, { kind: "objects" }>): Diagnosis | undefined {
  const [before, seen] = [earlier && jobAndPods(earlier), jobAndPods(now)];
  const said = before && facts(undefined, before, NOW_MS).said;
  if (seen === undefined) return undefined;
  for (const fact of facts(said, { ...seen, events: events.flatMap((it) => seeEvent(it) ?? []) }, NOW_MS).facts) {
    if (fact.type === "job.ended") return fact.data.evidence.diagnosis;
    if (fact.type === "job.stalled") return fact.data.diagnosis;
    // Replaces the launcher's look, which would find that no loop of ours deleted the Job.
    if (fact.type === "job.deleting") return CAUSES.external.diagnosis;
  }
  return undefined;
}

const NOW_MS = Date.UTC(2026, 0, 1);

function jobAndPods({ job, pods }: Shown): JobAndPods | undefined {
  const seen = seeJob(job);
  return seen && { job: seen, pods: pods.flatMap((it) => seePod(it) ?? []) };
}
