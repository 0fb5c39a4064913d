/** The answer to a deed that no rule lets somebody do, which is noted, too. */
import { RunId } from "@longshore/contract/ids.ts";
import type { Deed } from "@longshore/ledger/pages.ts";
import type { FastifyRequest } from "fastify";
import type { Parts } from "./parts.ts";
import { NOT_OPEN, noSuchJob, noSuchRun, Refused } from "./problem.ts";
import { askerOf, mayWith, reachWith } from "./sign-in/person.ts";

/** What may not be seen is answered as what is not there; of what may be seen, that no rule lets this person do it. */
export async function denied(options: Parts, request: FastifyRequest, deed: Deed, about: string): Promise<never> {
  const person = askerOf(request);
  await options.pages.audit.deny({ person, deed, about });
  const run = RunId.safeParse(about).data;
  const isSeen =
    deed === "run"
      ? mayWith(person, options, "see", about)
      : run !== undefined && (await options.pages.isReached(run, reachWith(request, options, "see")));
  if (isSeen) throw new Refused(403, "Not open to you", NOT_OPEN);
  throw deed === "run" ? noSuchJob(about) : noSuchRun(about);
}
