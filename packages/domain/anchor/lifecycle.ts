/**
 * The anchor's table: one cell for each input in each state.
 *
 * The bugs this prevents: a volume that nobody ever deletes, because the run ended in an unusual way; a restart that finds its
 * volumes half deleted; and "gone" said while a create of the anchor may still land.
 */
import type { Uid } from "@longshore/contract/ids.ts";
import type { Anchor, AnchorState } from "../run/record.ts";

export type AnchorInput =
  /** An attempt of the run got a group: from here on a create of the anchor may be sent. */
  | { readonly kind: "placed" }
  /** The anchor is there, and perhaps not all of its volumes. */
  | { readonly kind: "made"; readonly uid: Uid }
  /** The anchor and all its volumes are there. Without a UID: a Job of the run is there, which is created after them. */
  | { readonly kind: "stands"; readonly uid?: Uid }
  /** A create of the anchor got no answer, and may land until then. */
  | { readonly kind: "unanswered"; readonly fenceUntilMs: number }
  /**
   * The cluster has no room for all volumes, or another group takes the run before they are there. No attempt of the run is in the
   * way of giving up those that are.
   */
  | { readonly kind: "noRoom" }
  | { readonly kind: "runEnded"; readonly keepMs: number }
  | { readonly kind: "restarted" }
  /** Nobody needs the volumes any more: a person said so, or the run begins anew. */
  | { readonly kind: "freed" }
  /** Somebody deleted what an ended run kept. */
  | { readonly kind: "missed" }
  | { readonly kind: "due" }
  /** Every attempt that it owns is done: what it owns may be deleted now. */
  | { readonly kind: "clear" }
  /** Its volumes do not go: somebody holds them. */
  | { readonly kind: "stuck" }
  /** A look that began then found no anchor and no volume of it. */
  | { readonly kind: "gone"; readonly begunAtMs: number };

export type AnchorInputKind = AnchorInput["kind"];
type ByKind = { readonly [I in AnchorInput as I["kind"]]: I };
type Rule<K extends AnchorInputKind> = (anchor: Anchor, input: ByKind[K], nowMs: number) => Anchor | "illegal";
type Row<K extends AnchorInputKind> = Record<AnchorState, Rule<K>>;

/** A run that goes on has timers of its own. This one only finds an anchor whose run has ended without telling it. */
export const CHECK_MS = 3_600_000;

/** The time between looks at volumes that somebody holds: each look tells who. */
const STUCK_MS = 60_000;

const stay = (anchor: Anchor): Anchor => anchor;
const illegal = (): "illegal" => "illegal";

const noted = (anchor: Anchor, uid: Uid | undefined): Anchor =>
  uid === undefined || uid === anchor.uid ? anchor : { ...anchor, uid };

const note: Rule<"made"> = (anchor, { uid }) => noted(anchor, uid);
const noteWhole: Rule<"stands"> = (anchor, { uid }) => noted(anchor, uid);
const stand: Rule<"stands"> = (anchor, { uid }) => ({ ...noted(anchor, uid), state: "standing" });
const again: Rule<"restarted"> = (anchor, _input, nowMs) => ({ ...anchor, state: "standing", dueMs: nowMs + CHECK_MS });
const sweep = (anchor: Anchor, _input: unknown, nowMs: number): Anchor => ({ ...anchor, state: "sweeping", dueMs: nowMs });
const later: Rule<"due"> = (anchor, _input, nowMs) => ({ ...anchor, dueMs: nowMs + CHECK_MS });
const wake: Rule<"clear"> = (anchor, _input, nowMs) => ({ ...anchor, dueMs: nowMs });

const rest: Rule<"stuck"> = (anchor, _input, nowMs) => ({ ...anchor, dueMs: nowMs + STUCK_MS });

const fence: Rule<"unanswered"> = (anchor, { fenceUntilMs }) =>
  fenceUntilMs <= anchor.fenceUntilMs ? anchor : { ...anchor, fenceUntilMs };

const keep: Rule<"runEnded"> = (anchor, { keepMs }, nowMs) =>
  keepMs > 0 ? { ...anchor, state: "kept", dueMs: nowMs + keepMs } : { ...anchor, state: "sweeping", dueMs: nowMs };

/** Before the fence, a missing anchor may still come: the look that decides begins when the fence has passed. */
const vanish: Rule<"gone"> = (anchor, { begunAtMs }) =>
  begunAtMs < anchor.fenceUntilMs ? { ...anchor, dueMs: anchor.fenceUntilMs } : { ...anchor, state: "gone", dueMs: undefined };

// biome-ignore format: a table is read down its columns
export const ANCHOR: { readonly [K in AnchorInputKind]: Row<K> } = {
  placed:     { making: stay,    standing: stay,      kept: illegal,   sweeping: illegal,   gone: illegal },
  made:       { making: note,    standing: note,      kept: note,      sweeping: note,      gone: stay },
  stands:     { making: stand,   standing: noteWhole, kept: noteWhole, sweeping: noteWhole, gone: stay },
  unanswered: { making: fence,   standing: fence,     kept: fence,     sweeping: fence,     gone: stay },
  noRoom:     { making: sweep,   standing: stay,      kept: stay,      sweeping: stay,      gone: stay },
  // A run that never had all its volumes left nothing in them.
  runEnded:   { making: sweep,   standing: keep,      kept: stay,      sweeping: stay,      gone: stay },
  restarted:  { making: illegal, standing: illegal,   kept: again,     sweeping: illegal,   gone: illegal },
  freed:      { making: illegal, standing: illegal,   kept: sweep,     sweeping: stay,      gone: stay },
  missed:     { making: stay,    standing: stay,      kept: sweep,     sweeping: stay,      gone: stay },
  due:        { making: later,   standing: later,     kept: sweep,     sweeping: stay,      gone: illegal },
  clear:      { making: stay,    standing: stay,      kept: stay,      sweeping: wake,      gone: stay },
  stuck:      { making: stay,    standing: stay,      kept: stay,      sweeping: rest,      gone: stay },
  gone:       { making: stay,    standing: stay,      kept: stay,      sweeping: vanish,    gone: stay },
};

/** Returns the same object if nothing of the anchor changed. */
export function moveAnchor(anchor: Anchor, input: AnchorInput, nowMs: number): Anchor | "illegal" {
  return cell(anchor, input, nowMs);
}

function cell<K extends AnchorInputKind>(anchor: Anchor, input: ByKind[K], nowMs: number): Anchor | "illegal" {
  const row: Row<K> = ANCHOR[input.kind as K];
  return row[anchor.state](anchor, input, nowMs);
}
