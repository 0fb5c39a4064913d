/**
 * Sends a deed and waits for what the launcher says of it.
 *
 * The failure this prevents: an answer that comes before anybody listens. So listening begins before the deed is sent.
 */
import type { TypedEvent } from "@longshore/contract/messages/envelope.ts";
import type { FieldProblem } from "./answers.ts";
import type { Parts } from "./parts.ts";
import { fieldOf, Refused } from "./problem.ts";

/** The launcher mostly answers within this time, and the page can say at once what became of the deed. */
const TAKEN_WITHIN_MS = 2_000;

interface Sending {
  /** The run whose events are listened to; absent: all events. */
  readonly run: string | undefined;
  readonly send: () => Promise<void>;
  /** Tells which events answer the deed: a refusal is one only if it is of this deed. */
  readonly isAnswer: (event: TypedEvent) => boolean;
  /** The heading of a refusal. */
  readonly refused: string;
}

/** Throws `Refused` if the launcher refuses it. "late": it has not answered yet. */
export async function sentDeed(
  { live, clock }: Pick<Parts, "live" | "clock">,
  { run, send, isAnswer, refused }: Sending,
): Promise<"done" | "late"> {
  const answered = Promise.withResolvers<"done" | "late" | readonly FieldProblem[]>();
  const off = live.on(run, (event) => {
    if (isAnswer(event)) answered.resolve(event.type === "command.refused" ? event.data.problems.map(fieldOf) : "done");
  });
  const late = clock.alarm(TAKEN_WITHIN_MS, () => answered.resolve("late"));
  try {
    await send();
    const answer = await answered.promise;
    if (typeof answer === "string") return answer;
    throw new Refused(409, refused, answer.map(({ message }) => message).join(" "), answer);
  } finally {
    off();
    late();
  }
}
