import { GroupName, Uid } from "@longshore/contract/ids.ts";
import t from "tap";
import { type Anchor, ANCHOR_STATES, type AnchorState } from "../run/record.ts";
import { ANCHOR, type AnchorInput, moveAnchor } from "./lifecycle.ts";

const NOW = Date.UTC(2030, 0, 1);
const FENCE = NOW + 60_000;
const uid = Uid.parse("uid-of-the-anchor");

const anchorIn = (state: AnchorState): Anchor => ({
  number: 1,
  state,
  group: GroupName.parse("prod-a"),
  namespace: "jobs",
  bytes: 2 ** 30,
  uid: undefined,
  fenceUntilMs: FENCE,
  dueMs: state === "gone" ? undefined : NOW,
});

const INPUTS: { readonly [K in AnchorInput["kind"]]: Extract<AnchorInput, { kind: K }> } = {
  placed: { kind: "placed" },
  made: { kind: "made", uid },
  stands: { kind: "stands", uid },
  unanswered: { kind: "unanswered", fenceUntilMs: FENCE + 1 },
  noRoom: { kind: "noRoom" },
  runEnded: { kind: "runEnded", keepMs: 5_000 },
  restarted: { kind: "restarted" },
  freed: { kind: "freed" },
  missed: { kind: "missed" },
  due: { kind: "due" },
  clear: { kind: "clear" },
  stuck: { kind: "stuck" },
  gone: { kind: "gone", begunAtMs: FENCE },
};

/** The state that each input leads to; "!" is an input that never comes in this state. */
const WANT: { readonly [K in AnchorInput["kind"]]: Readonly<Record<AnchorState, AnchorState | "!">> } = {
  placed:     { making: "making",   standing: "standing", kept: "!",        sweeping: "!",        gone: "!" },
  made:       { making: "making",   standing: "standing", kept: "kept",     sweeping: "sweeping", gone: "gone" },
  stands:     { making: "standing", standing: "standing", kept: "kept",     sweeping: "sweeping", gone: "gone" },
  unanswered: { making: "making",   standing: "standing", kept: "kept",     sweeping: "sweeping", gone: "gone" },
  noRoom:     { making: "sweeping", standing: "standing", kept: "kept",     sweeping: "sweeping", gone: "gone" },
  runEnded:   { making: "sweeping", standing: "kept",     kept: "kept",     sweeping: "sweeping", gone: "gone" },
  restarted:  { making: "!",        standing: "!",        kept: "standing", sweeping: "!",        gone: "!" },
  missed:     { making: "making",   standing: "standing", kept: "sweeping", sweeping: "sweeping", gone: "gone" },
  freed:      { making: "!",        standing: "!",        kept: "sweeping", sweeping: "sweeping", gone: "gone" },
  due:        { making: "making",   standing: "standing", kept: "sweeping", sweeping: "sweeping", gone: "!" },
  clear:      { making: "making",   standing: "standing", kept: "kept",     sweeping: "sweeping", gone: "gone" },
  stuck:      { making: "making",   standing: "standing", kept: "kept",     sweeping: "sweeping", gone: "gone" },
  gone:       { making: "making",   standing: "standing", kept: "kept",     sweeping: "gone",     gone: "gone" },
}; // biome-ignore format: a table is read down its columns

for (const state of ANCHOR_STATES)
  t.test(`an anchor that is ${state}`, async (t) => {
    for (const input of Object.values(INPUTS)) {
      const moved = moveAnchor(anchorIn(state), input, NOW);
      t.equal(moved === "illegal" ? "!" : moved.state, WANT[input.kind][state], input.kind);
    }
  });

t.test("an anchor that is not gone is looked at some time", async (t) => {
  t.same(Object.keys(ANCHOR).toSorted(), Object.keys(INPUTS).toSorted());
  for (const state of ANCHOR_STATES)
    for (const input of Object.values(INPUTS)) {
      const moved = moveAnchor(anchorIn(state), input, NOW);
      if (moved !== "illegal") t.equal(moved.dueMs === undefined, moved.state === "gone", `${state} ${input.kind}`);
    }
});

t.test("a look from before the fence shows nothing, and the next one waits for the fence", async (t) => {
  const sweeping = anchorIn("sweeping");
  const begun = moveAnchor(sweeping, { kind: "gone", begunAtMs: FENCE - 1 }, FENCE + 1);
  t.same(begun, { ...sweeping, dueMs: FENCE });
  t.match(moveAnchor(sweeping, { kind: "gone", begunAtMs: FENCE }, FENCE + 1), { state: "gone", dueMs: undefined });
});

t.test("a run that keeps nothing gives its volumes up at once, and one that keeps them when the time is over", async (t) => {
  t.match(moveAnchor(anchorIn("standing"), { kind: "runEnded", keepMs: 0 }, NOW), { state: "sweeping", dueMs: NOW });
  t.match(moveAnchor(anchorIn("standing"), { kind: "runEnded", keepMs: 9 }, NOW), { state: "kept", dueMs: NOW + 9 });
});

t.test("a fence only grows, and a UID that was learned stays", async (t) => {
  t.match(moveAnchor(anchorIn("making"), { kind: "unanswered", fenceUntilMs: FENCE - 1 }, NOW), { fenceUntilMs: FENCE });
  t.match(moveAnchor({ ...anchorIn("making"), uid }, { kind: "stands" }, NOW), { state: "standing", uid });
});
