/**
 * The mark at the end of each run's id that a person asks for: it says whose id that is.
 *
 * The failure this prevents: a person who learns by trying which ids are taken. Whoever asks for a run under an id hears whether
 * it was free, so each person has ids of their own. The mark is no secret: another person's is refused, whether there is such a run
 * or not. It follows from who asks, so that all consoles of an installation make the same, and a form outlasts a new sign-in.
 */
import { createHash } from "node:crypto";
import type { Asker, Reach } from "@longshore/domain/access/access.ts";
import { idOf, reachesEverything } from "@longshore/domain/access/access.ts";
import { spelt } from "./new-run.ts";

const MARK = 6;

export const markOf = (asker: Asker): string =>
  spelt(
    createHash("sha256")
      .update(JSON.stringify([idOf(asker), asker.token]))
      .digest()
      .subarray(0, MARK),
  );

/** True if the asker may ask for a run under this id. Whoever sees all runs learns nothing by trying, and may choose any. */
export const mayUse = (run: string, asker: Asker, see: Reach): boolean =>
  reachesEverything(see) || run.endsWith(`-${markOf(asker)}`);
