/** Reads one run's view from the ledger. */
import { createHash } from "node:crypto";
import type { Verb } from "@longshore/contract/access-rule.ts";
import type { RunId } from "@longshore/contract/ids.ts";
import { type Asker, reaches, reachOf } from "@longshore/domain/access/access.ts";
import { selectorOfRun } from "@longshore/domain/run/job-commands.ts";
import type { Pages } from "@longshore/ledger/pages.ts";
import type { RunView } from "../answers.ts";
import type { Parts } from "../parts.ts";
import { noSuchRun } from "../problem.ts";
import { askedBy, runView } from "./run.ts";

const STORY_MOST = 1_000;

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** A run out of reach is answered as one that does not exist. */
export async function viewOf(
  { pages, access }: { readonly pages: Pick<Pages, "definition" | "find" | "isReached" | "story"> } & Pick<Parts, "access">,
  asker: Asker,
  id: RunId,
): Promise<RunView> {
  const [isReached, found] = await Promise.all([pages.isReached(id, reachOf(access, asker, "see")), pages.find(id)]);
  if (found === undefined || !isReached) throw noSuchRun(id);
  const name = found.record.run.plan.definition?.name;
  const [events, definition] = await Promise.all([
    pages.story(id, 0, STORY_MOST),
    name === undefined ? undefined : pages.definition(name),
  ]);
  // Events that came since the run was read belong to the next view: this one would show them beside an older state.
  const story = events.filter(({ sequence }) => sequence <= found.record.run.seq);
  const { tenant, plan } = found.record.run;
  const about = { tenant, definition: plan.definition?.name, by: askedBy(story) };
  const may = (verb: Verb): boolean => reaches(reachOf(access, asker, verb), about);
  return runView(found.record, found.request, story, {
    title: definition?.body.title,
    selector: selectorOfRun(id, sha256),
    may: { log: may("log"), stop: may("stop"), run: may("run"), operate: may("operate") },
  });
}
