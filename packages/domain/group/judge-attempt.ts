/**
 * The answer of placing to one waiting attempt: its group, why it waits on, or why it is over.
 *
 * The bug this prevents: a run that waits for a day although no group can ever take it, or longer than the time that it was
 * given to wait.
 */
import type { InputOf } from "../attempt/input.ts";
import type { Attempt, Plan } from "../run/record.ts";
import { chooseGroup } from "./choose-group.ts";
import type { Group, Placer } from "./group.ts";

export type Judgement = InputOf<"placed" | "noPlace" | "waitExpired" | "hopeless">;

export function judgeAttempt(
  { step, notes }: Attempt,
  plan: Plan,
  groups: readonly Group[],
  placer: Placer,
  nowMs: number,
): Judgement {
  if (nowMs >= notes.waitUntilMs) return { kind: "waitExpired" };
  const image = plan.with?.image ?? plan.steps.find(({ name }) => name === step)?.image;
  const images = image === undefined ? [] : [image];
  const found = chooseGroup({ wanted: plan.groups, groups, avoid: notes.avoid, images, nowMs, ...placer });
  const considered = [...found.considered];
  if (found.kind === "noPlace") {
    const { reason, diagnosis, hopeless } = found;
    if (hopeless && diagnosis) return { kind: "hopeless", diagnosis };
    return { kind: "noPlace", reason, considered, retryAtMs: nowMs + placer.placeAgainMs, ...(diagnosis && { diagnosis }) };
  }
  const { name: group, namespace, settings } = found.group;
  return { kind: "placed", group, namespace, considered, ...(settings.hold ? {} : { hold: false }) };
}
