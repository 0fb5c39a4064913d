/**
 * `longshore runs free`: gives up the volumes that a run kept when it ended.
 *
 * The failure this prevents: a command that is sent for nothing, whose refusal nobody waits for.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import { newestAnchor } from "@longshore/domain/anchor/of-run.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import { type Surroundings, tell } from "../../command.ts";
import { commandOf } from "../../checked-command.ts";
import type { Sending } from "../../sending.ts";
import { brokerOf, sendTo } from "../publish.ts";
import { ownedWords } from "./page.ts";

export async function freeVolumes(
  record: RunRecord,
  config: string | undefined,
  surroundings: Surroundings,
  sending: Sending,
): Promise<number> {
  const { id: run, state } = record.run;
  if (state !== "ended")
    throw new Failure("refuse", "NotEnded", `${run} is not over and needs its volumes: cancel it first, or wait`);
  const kept = newestAnchor(record);
  if (kept?.state !== "kept")
    throw new Failure(
      "refuse",
      "VolumesGone",
      `${run} keeps no volumes and nothing else to give up. Jobs that have ended go by themselves, when \`keepFor\` has passed`,
    );
  await using broker = await brokerOf(config, surroundings);
  await sending.send(() => sendTo(broker, commandOf("run.free", { run }), surroundings));
  tell(surroundings, `asked to give up what ${run} keeps in ${kept.group}: ${ownedWords(kept.bytes)}`);
  return 0;
}
