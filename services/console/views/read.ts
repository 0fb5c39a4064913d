/** Reads one run's view from the ledger. */
import type { RunId } from "@longshore/contract/ids.ts";
import type { Pages } from "@longshore/ledger/pages.ts";
import { Refused } from "../problem.ts";
import { type RunView, runView } from "./run.ts";

const STORY_MOST = 1_000;

export async function viewOf(
  { pages }: { readonly pages: Pick<Pages, "definition" | "find" | "story"> },
  id: RunId,
): Promise<RunView> {
  const [found, story] = await Promise.all([pages.find(id), pages.story(id, 0, STORY_MOST)]);
  if (found === undefined) throw new Refused(404, "No such run", `No run has the id ${id}.`);
  const name = found.record.run.plan.definition?.name;
  const definition = name === undefined ? undefined : await pages.definition(name);
  return runView(found.record, found.request, story, definition?.title);
}
