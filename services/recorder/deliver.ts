/**
 * Tells one run's next events to a sink: the requests of an event in the order of the rules, one at a time.
 *
 * The bugs this prevents: an event that overtakes the one before it; a request that is forgotten because its answer was lost (it
 * is sent again, with the same webhook-id); and one run whose request is refused, which holds up nothing.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import { eventId } from "@longshore/contract/messages/envelope.ts";
import type { Delivery, Place, Refusal, Settled } from "@longshore/ledger/deliveries.ts";
import type { OutboxEvent } from "@longshore/ledger/port.ts";
import type { Parts, Sink } from "./parts.ts";
import { eventOf, matching, type Outgoing, requestOf, type Rule, type Scope } from "./rules.ts";
import type { Answer } from "./send.ts";
import { signed, webhookId } from "./sign.ts";

const RETRY_FIRST_MS = 1_000;
const RETRY_MOST_MS = 300_000;
/** What a sink asks for is bounded, since a wrong date would silence it for years. */
const RETRY_AFTER_MOST_MS = 24 * 3_600_000;

/** What becomes of a request. */
export type Verdict =
  | { readonly kind: "taken" }
  /** It is sent again, before anything else of its run. */
  | { readonly kind: "later"; readonly why: Refusal; readonly quietMs: number | undefined }
  /** Sending it again would not help: a person has to look. */
  | { readonly kind: "refused"; readonly why: Refusal }
  | { readonly kind: "gone"; readonly why: Refusal };

const PASSING: readonly number[] = [408, 425, 429];

export function verdictOf({ status, retryAfterMs, says }: Answer): Verdict {
  if (status >= 200 && status < 300) return { kind: "taken" };
  const said = says === "" ? "" : `: ${says}`;
  const why = { code: String(status), sentence: `It answered ${status}${said}` };
  if (status === 410) return { kind: "gone", why };
  if (status < 500 && !PASSING.includes(status)) return { kind: "refused", why };
  return { kind: "later", why, quietMs: retryAfterMs === undefined ? undefined : Math.min(retryAfterMs, RETRY_AFTER_MOST_MS) };
}

export interface Delivering {
  readonly delivery: Delivery;
  /** True while another request may begin: the sink is surely ours for as long as one takes. */
  readonly may: () => boolean;
  readonly signal: AbortSignal;
}

/**
 * Resolves when the delivery's events are told, or when it has to wait. To false if nothing more may be told before the ledger
 * was asked whether the sink is still ours, and still told.
 */
export async function deliver(parts: Parts, sink: Sink, { delivery, may, signal }: Delivering): Promise<boolean> {
  const { ledger, owner } = parts;
  const settle = (change: Settled): Promise<boolean> => ledger.settle(sink.name, owner, delivery, change);
  let written: Place | undefined;

  for (const { event, rule, index } of rulesFor(delivery, sink.rules)) {
    const scope = scopeOf(event, rule, parts);
    if (scope === undefined) continue;
    const here = { sequence: event.sequence, rule: index };
    const made = requestOf(rule, event, scope, parts.installation);
    if (made.kind === "made" && !may()) return await paused({ sequence: here.sequence - 1, rule: here.rule });
    const verdict: Verdict =
      made.kind === "made"
        ? await ask(parts, sink, { request: made.request, event, index }, signal)
        : { kind: "refused", why: made.why };
    const behind = placeBehind(here, sink.rules.length);
    const then = await settled(verdict, behind, here);
    if (then !== "on") return then === "later";
    written = behind;
  }
  // A parked request that was sent is settled. One whose rule is not there any more is done.
  if (delivery.isAgain && written !== undefined) return true;
  const end = { sequence: delivery.events.at(-1)?.sequence ?? delivery.sequence, rule: 0 };
  return isSame(end, written) || (await settle({ kind: "told", ...end }));

  /** Events that no rule was about are behind us, too. A line that has not moved keeps what is known of its failures. */
  async function paused(at: Place): Promise<boolean> {
    return delivery.isAgain || isSame(at, written ?? delivery) || (await settle({ kind: "told", ...at }));
  }

  async function settled(verdict: Verdict, behind: Place, here: Place): Promise<"on" | "later" | "not ours"> {
    const about = { sink: sink.name, run: delivery.run, sequence: here.sequence, rule: here.rule };
    switch (verdict.kind) {
      case "taken":
        return await onward({ kind: "told", ...behind });
      case "refused": {
        parts.log.warn("request.parked", { ...about, ...verdict.why });
        const parked = { ...here, why: verdict.why };
        return await onward(delivery.isAgain ? { kind: "parked", why: verdict.why } : { kind: "told", ...behind, parked });
      }
      case "gone":
        parts.log.warn("sink.stopped", { ...about, ...verdict.why });
        await ledger.stop(sink.name, owner, verdict.why);
        return "not ours";
      case "later": {
        if (signal.aborted) return "later"; // it was cut off by us
        const { why } = verdict;
        const isParked = delivery.failingMs >= parts.timing.giveUpMs;
        const againInMs = Math.max(againIn(parts, delivery), verdict.quietMs ?? 0);
        if (isParked) parts.log.warn("line.parked", { ...about, ...why });
        else parts.log.debug("a request is sent again later", { ...about, ...why });
        return (await settle(isParked ? { kind: "parked", why } : { kind: "failed", why, againInMs })) ? "later" : "not ours";
      }
    }
  }

  async function onward(change: Settled): Promise<"on" | "not ours"> {
    return (await settle(change)) ? "on" : "not ours";
  }
}

interface Asking {
  readonly request: Outgoing;
  readonly event: OutboxEvent;
  readonly index: number;
}

async function ask(
  parts: Parts,
  { name, signingKeys, send, breaker }: Sink,
  { request, event, index }: Asking,
  signal: AbortSignal,
): Promise<Verdict> {
  const { clock, metrics, installation, fail } = parts;
  const id = webhookId(name, eventId(installation, event.run, event.sequence), index);
  const marks = signed({ id, body: request.body, nowMs: clock.now() }, signingKeys);
  const verdict = await answered({ ...request, headers: { ...request.headers, ...marks } });
  if (verdict.kind === "later") {
    if (!signal.aborted) breaker.failed(verdict.quietMs);
  } else breaker.answered();
  return verdict;

  async function answered(outgoing: Outgoing): Promise<Verdict> {
    try {
      const answer = await send(outgoing, signal);
      await fail("afterAnswer");
      metrics.count("longshore_sink_requests_total", { sink: name, code: String(answer.status) });
      return verdictOf(answer);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      metrics.count("longshore_sink_requests_total", { sink: name, code: error.code });
      return { kind: "later", why: { code: error.code, sentence: error.message }, quietMs: undefined };
    }
  }
}

/** The events and rules that are left. A parked request is one event and one rule. */
function* rulesFor({ events, rule: done, isAgain }: Delivery, rules: readonly Rule[]) {
  for (const [which, event] of events.entries())
    for (const [index, rule] of rules.entries()) {
      const isLeft = isAgain ? index === done : which > 0 || index >= done;
      if (isLeft) yield { event, rule, index };
    }
}

function scopeOf(event: OutboxEvent, rule: Rule, { installation }: Pick<Parts, "installation">): Scope | undefined {
  const of = eventOf(event, installation);
  const match = matching(rule, of);
  return match && { event: of, match };
}

/** The place in the line when this rule of the event is done. */
const placeBehind = ({ sequence, rule }: Place, rules: number): Place =>
  rule + 1 < rules ? { sequence: sequence - 1, rule: rule + 1 } : { sequence, rule: 0 };

const isSame = (a: Place, b: Place | undefined): boolean => a.sequence === b?.sequence && a.rule === b.rule;

const againIn = ({ clock }: Pick<Parts, "clock">, { tries }: Delivery): number =>
  Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** Math.min(tries, 16)) * (0.75 + clock.random() / 2);
