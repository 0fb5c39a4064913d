/** Turns a fact into an input for its attempt. A watcher's word about a deletion never ends anything: it only means "look". */
import type { Fact } from "@longshore/contract/fact.ts";
import type { AttemptInput } from "./input.ts";

export type JobFact = Exclude<Fact, { type: "group.watched" }>;

export function inputOf(fact: JobFact): AttemptInput {
  const { uid, resourceVersion: rv, group } = fact.data.about;
  const of = { uid, rv, group };
  switch (fact.type) {
    case "job.started":
      return { kind: "started", evidence: fact.data.evidence, ...of };
    case "job.stalled":
      return { kind: "stalled", diagnosis: fact.data.diagnosis, ...of };
    case "job.resumed":
      return { kind: "resumed", ...of };
    case "job.ended":
      return { kind: fact.data.condition === "Complete" ? "complete" : "failed", evidence: fact.data.evidence, ...of };
    case "job.deleting":
      return { kind: "deleting", ...of };
    case "job.deleted":
      return { kind: "deleting", vanished: true, ...of };
  }
}
