/**
 * Keeps the five journals of one system while it is at work, and hands them over as one history.
 *
 * The failure this prevents: a judge who begins to look when everything is over.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { canonical } from "@longshore/contract/json.ts";
import type { Site } from "../site.ts";
import { openTap, showsAll } from "../upstream.ts";
import type { AttemptRow, History, LedgerRows, Passed, Sent } from "./journals.ts";
import { rowsOf, sentEvents } from "./rows.ts";
import { watchOf } from "./watch.ts";

export interface Keeping extends AsyncDisposable {
  /** Notes a command before it is first published. Returns a function that notes the broker's confirm. */
  sending(command: Omit<Sent, "confirmed" | "content"> & { readonly data: object }): () => void;
  /** Notes that the group's cluster was put back to an earlier moment. */
  restored(group: string): void;
  /** Returns the history so far. */
  collect(): Promise<History>;
}

export interface Places {
  readonly brokerUrl: string;
  readonly ledgerUrl: string;
  readonly sites: readonly Site[];
  /** Keeps facts and commands too, if the broker shows them. `openTap` says which tests must not set this. */
  readonly all: boolean;
}

export async function keepHistory({ brokerUrl, ledgerUrl, sites, all }: Places): Promise<Keeping> {
  await using parts = new AsyncDisposableStack();
  const sent: (Omit<Sent, "confirmed"> & { confirmed: boolean })[] = [];
  const passed: Passed[] = [];
  const restored = new Set<string>();
  parts.use(await openTap(brokerUrl, { all }, (exchange, body) => passed.push(passedBy(exchange, body))));
  const watches = sites.map((site) => ({ site, watch: parts.use(watchOf(site)) }));
  await Promise.all(watches.map(({ watch }) => watch.caughtUp()));
  const kept = parts.move();
  return {
    sending({ data, ...command }) {
      const it = { ...command, content: canonical(data), confirmed: false };
      sent.push(it);
      return () => void (it.confirmed = true);
    },
    restored: (group) => void restored.add(group),
    async collect() {
      await tapped(passed, await sentEvents(ledgerUrl));
      const before = await rowsOf(ledgerUrl);
      const clusters = watches.map(async ({ site: { group, launcher, asked }, watch }) => {
        await watch.caughtUp();
        return { group, launcher, asked: await asked(), jobs: watch.jobs, pods: watch.pods, restored: restored.has(group) };
      });
      const seen = await Promise.all(clusters);
      const ledger = withStatesOf(before, await rowsOf(ledgerUrl));
      return { sent, passed, factsPassed: all && showsAll(brokerUrl), ledger, clusters: seen };
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** A tap gets an event within this time after the broker has confirmed it to its launcher. */
const TAPPED_WITHIN_MS = 10_000;
const TAP_LOOK_MS = 50;

/** Waits until the tap has what the broker has: it confirms an event to its launcher, and shows it to the tap, each in its time. */
async function tapped(passed: readonly Passed[], sent: Awaited<ReturnType<typeof sentEvents>>): Promise<void> {
  const id = (it: { readonly run: string | undefined; readonly sequence: number | undefined }) => `${it.run} ${it.sequence}`;
  for (let waitedMs = 0; waitedMs < TAPPED_WITHIN_MS; waitedMs += TAP_LOOK_MS) {
    const seen = new Set(passed.map(id));
    if (sent.every((it) => seen.has(id(it)))) return;
    await sleep(TAP_LOOK_MS);
  }
}

/**
 * A Job is released before its attempt is done, and an attempt's end is recorded before both. So an attempt counts as done only
 * if it was done before the clusters were looked at, and its end counts if it was recorded by the time they had been looked at:
 * otherwise a step of the launcher between two of our looks would be taken for a fault.
 */
function withStatesOf(before: LedgerRows, after: LedgerRows): LedgerRows {
  const key = ({ run, step, n }: AttemptRow): string => JSON.stringify([run, step, n]);
  const states = new Map(before.attempts.map((it) => [key(it), it.state]));
  return { ...after, attempts: after.attempts.map((it) => ({ ...it, state: states.get(key(it)) ?? "waiting" })) };
}

const EXCHANGES: Readonly<Record<string, Passed["through"]>> = {
  "longshore.commands": "commands",
  "longshore.facts": "facts",
  "longshore.events": "events",
  "longshore.quarantine": "quarantine",
};

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

function passedBy(exchange: string, body: Uint8Array): Passed {
  const said = Buffer.from(body).toString("utf8");
  const through = EXCHANGES[exchange] ?? "events";
  const message = record(parsed(said));
  const sequence = text(message["sequence"]);
  return {
    through,
    text: through === "quarantine" ? said : "",
    id: text(message["id"]) ?? "",
    type: (text(message["type"]) ?? "").replace(/^dev\.longshore\./, ""),
    run: text(message["subject"]),
    sequence: sequence === undefined ? undefined : Number(sequence),
    generation: typeof message["generation"] === "number" ? message["generation"] : undefined,
    data: record(message["data"]),
  };
}

function parsed(said: string): unknown {
  try {
    return JSON.parse(said);
  } catch {
    return undefined; // poison, which some tests send
  }
}
