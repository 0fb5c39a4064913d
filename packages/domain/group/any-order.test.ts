/** Any inputs to a group's table, in any order and at any time: nothing throws, and every invariant holds. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import fc from "fast-check";
import t from "tap";
import { hear } from "./health.ts";
import { BELIEVED_PROBES, type WordLease, wordOf } from "./recorded-health.ts";
import { ANOTHER, context, input, NOW, OURS, SECOND, view } from "./testing/views.ts";
import type { GroupInput, GroupView, RecordedHealth } from "./view.ts";
import { isDoubted, isWell, ledgerInput, mayClaim, mayCreate, mayJudge, UNREACHED, unverified } from "./view.ts";

const uid = fc.constantFrom(OURS, OURS, OURS, ANOTHER);
const diagnosis = fc
  .constantFrom("EndpointUnreachable" as const, "Forbidden" as const, "AuthRejected" as const, "NamespaceTerminating" as const)
  .map((code) => diagnose(code, code));
const as = <K extends GroupInput["kind"]>(kind: K) => fc.constant(kind);
const health = fc.constantFrom("unknown" as const, "healthy" as const, "unhealthy" as const);

const anything: fc.Arbitrary<GroupInput> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: as("answered"), uid, deleting: fc.constantFrom(false, false, false, true) }) },
  fc.record({ kind: as("missing") }),
  fc.record({ kind: as("refused"), diagnosis }),
  { weight: 2, arbitrary: fc.record({ kind: as("silent"), diagnosis }) },
  fc.constantFrom({ kind: "throttled" } as const, input.throttled),
  fc.record({ kind: as("writeRefused"), diagnosis }),
  fc.record({ kind: as("writeTaken") }),
  fc.record({ kind: as("recorded"), namespaceUid: uid, health, diagnosis: fc.option(diagnosis, { nil: undefined }) }),
  fc.constant(input.unnamed),
  fc.constantFrom({ kind: "heeded" } as const, { kind: "overruled" } as const),
);
const moment = fc.record({ heard: anything, laterMs: fc.constantFrom(0, SECOND, 12 * SECOND, 6 * 60 * SECOND) });
const story = fc.array(moment, { maxLength: 40, size: "max" });

const ANSWERS: ReadonlySet<GroupInput["kind"]> = new Set(["answered", "missing", "refused", "throttled", "writeTaken"]);

/** Plays inputs one after the other to a launcher that just started, and checks each step with `look`. */
function play(
  told: readonly { readonly heard: GroupInput; readonly laterMs: number }[],
  look: (step: { readonly before: GroupView; readonly heard: GroupInput; readonly after: GroupView; readonly nowMs: number }) => string | undefined,
): void {
  let nowMs = NOW;
  let group: GroupView = unverified(UNREACHED);
  for (const { heard, laterMs } of told) {
    nowMs += laterMs;
    const before = group;
    group = hear(before, [heard], context(nowMs));
    const problem = look({ before, heard, after: group, nowMs });
    if (problem !== undefined)
      throw new Error(`${problem}: ${JSON.stringify(heard)} made ${JSON.stringify(before)} to ${JSON.stringify(group)}`);
  }
} // biome-ignore format: one step is one value

const holds = (check: (told: Parameters<typeof play>[0]) => void, numRuns = 2_000): void =>
  fc.assert(fc.property(story, check), { numRuns });

t.test(
  "nothing is created, and nothing called gone, but in the namespace that answered us last and that the ledger names",
  async (t) => {
    holds((told) => {
      let last: string | undefined;
      let named: string | undefined;
      let silences = 0;
      play(told, ({ heard, after }) => {
        if (heard.kind === "answered") {
          last = heard.uid;
          named ??= heard.uid;
        }
        silences = heard.kind === "silent" ? silences + 1 : ANSWERS.has(heard.kind) ? 0 : silences;
        // After an outage the address may belong to another cluster, so an earlier answer no longer counts; nor does it count
        // once another namespace is trusted.
        if (silences >= 2) last = undefined;
        if (heard.kind === "recorded" && heard.namespaceUid !== named) [named, last] = [heard.namespaceUid, undefined];
        if (heard.kind === "unnamed") [named, last] = [undefined, undefined];
        if (after.namespaceUid !== named) return `it goes by the UID ${after.namespaceUid}, and ${named} is trusted`;
        const isOurs = last !== undefined && last === named;
        if (mayCreate(after) && !isOurs) return "something may be created";
        return mayJudge(after) && !isOurs && after.state !== "barred" ? "something may be called gone" : undefined;
      });
    });
    t.pass();
  },
);

t.test(
  "a moved group is left by its own namespace's answer and by another one's being trusted, and by nothing else",
  async (t) => {
    holds((told) =>
      play(told, ({ before, heard, after }) => {
        if (before.state !== "moved" || after.state === "moved") return undefined;
        const isBack = heard.kind === "answered" && heard.uid === before.namespaceUid;
        const isAccepted = after.state === "unverified" && after.namespaceUid !== before.namespaceUid;
        return isBack || isAccepted ? undefined : "it was left";
      }),
    );
    t.pass();
  },
);

t.test("one silence never makes a healthy group unwell, nor do two with an answer between them", async (t) => {
  holds((told) => {
    let silences = 0;
    play(told, ({ before, heard, after }) => {
      silences = heard.kind === "silent" ? silences + 1 : ANSWERS.has(heard.kind) ? 0 : silences;
      const isLost = heard.kind === "silent" && isWell(before) && !isWell(after);
      return isLost && silences < 2 ? "it was given up" : undefined;
    });
  });
  t.pass();
});

t.test("a request to wait changes nothing of what is allowed", async (t) => {
  const allowed = (it: GroupView) => JSON.stringify([mayClaim(it), mayCreate(it), mayJudge(it), isWell(it)]);
  holds((told) =>
    play(told, ({ before, heard, after }) =>
      heard.kind === "throttled" && allowed(before) !== allowed(after) ? "it changed" : undefined,
    ),
  );
  t.pass();
});

t.test("refused writes rest their time, each time longer, and no read ends that", async (t) => {
  holds((told) =>
    play(told, ({ before, heard, after, nowMs }) => {
      if (before.state === "refusing" && heard.kind === "answered" && heard.uid === before.namespaceUid && !heard.deleting)
        return isWell(after) !== before.refusals.untilMs <= nowMs ? "the rest and the read disagree" : undefined;
      if (heard.kind !== "writeRefused" || after === before) return undefined;
      const [earlier, later] = [before.refusals?.times ?? 0, after.refusals?.times ?? 0];
      const restMs = (after.refusals?.untilMs ?? 0) - nowMs;
      return later === earlier + 1 && restMs === Math.min(300, 10 * 2 ** earlier) * SECOND ? undefined : `a rest of ${restMs} ms`;
    }),
  );
  t.pass();
});

t.test("what is heard again says nothing new, but for a second silence", async (t) => {
  holds((told) =>
    play(told, ({ heard, after, nowMs }) => {
      if (heard.kind === "silent" && isDoubted(after)) return undefined;
      const again = hear(after, [heard], context(nowMs));
      return again.state === after.state && mayClaim(again) === mayClaim(after) ? undefined : `and then ${again.state}`;
    }),
  );
  t.pass();
});

// ── Several launchers, and one health in the ledger ──────────────────────────────────────────────────────────────────

const PROBE_MS = 10 * SECOND;

/**
 * Launchers that probe as probe.ts does. Each of them always gets the same answer; the ledger and its leases are plain records.
 */
function launchers(answers: readonly GroupInput[], recorded: RecordedHealth) {
  let ledger = recorded;
  const views = answers.map((): GroupView => unverified(UNREACHED));
  const leases = new Map<WordLease, { readonly owner: number; readonly untilMs: number }>();
  const said: string[] = [];
  const take = (lease: WordLease, owner: number, untilMs: number, nowMs: number): boolean => {
    const held = leases.get(lease);
    if (held !== undefined && held.owner !== owner && held.untilMs > nowMs) return false;
    leases.set(lease, { owner, untilMs });
    return true;
  };
  return {
    said,
    view: (of: number): GroupView => views[of] ?? unverified(UNREACHED),
    ledger: (): RecordedHealth => ledger,
    probe(owner: number, nowMs: number): void {
      const answer = answers[owner] ?? input.silent;
      const heard = [ledgerInput(ledger), answer];
      const at = context(nowMs);
      const found = hear(views[owner] ?? unverified(UNREACHED), heard, at);
      const after = isDoubted(found) ? hear(found, [answer], at) : found;
      const word = wordOf(after, ledger);
      const refused = word?.needs.find((lease) => !take(lease, owner, nowMs, nowMs));
      if (word !== undefined && refused === undefined) {
        take(word.health, owner, nowMs + BELIEVED_PROBES * PROBE_MS, nowMs);
        if (word.turns) said.push(`${owner}: ${word.diagnosis?.code ?? word.health}`);
        ledger = { namespaceUid: ledger.namespaceUid ?? after.namespaceUid, health: word.health, diagnosis: word.diagnosis };
      }
      views[owner] = hear(after, [{ kind: refused === "healthy" ? "overruled" : "heeded" }], at);
    },
  };
}

const verdict = fc.constantFrom<GroupInput>(input.answered, { ...input.answered, uid: ANOTHER }, input.silent, input.missing, input.refused, { kind: "refused", diagnosis: diagnose("Forbidden", "No.") }, { ...input.answered, deleting: true }); // biome-ignore format: one list
const begun: RecordedHealth = { namespaceUid: OURS, health: "unknown", diagnosis: undefined };

t.test("launchers that disagree do not overwrite each other's word in turns", async (t) => {
  const turns = fc.array(fc.record({ by: fc.nat(2), laterMs: fc.integer({ min: 0, max: PROBE_MS }) }), { minLength: 20, maxLength: 120, size: "max" });
  fc.assert(
    fc.property(fc.tuple(verdict, verdict, verdict), turns, (answers, probes) => {
      const { said, probe } = launchers(answers, begun);
      let nowMs = NOW;
      const lastMs = answers.map(() => NOW);
      for (const { by, laterMs } of probes) {
        nowMs += laterMs;
        probe(by, nowMs);
        lastMs[by] = nowMs;
        // Every launcher probes at least once in each PROBE_MS.
        for (const [at, last] of lastMs.entries()) if (nowMs - last >= PROBE_MS) probe(at, (lastMs[at] = nowMs));
      }
      // Each launcher may change the health in the ledger once, and one more change is allowed when a launcher finds the group
      // well.
      if (said.length > answers.length + 1) throw new Error(said.join(", "));
    }),
    { numRuns: 1_000 },
  );
  t.pass();
}); // biome-ignore format: one list

t.test("a group that answers one launcher is healthy, and the others leave its creates to that one", async (t) => {
  for (const answer of [input.silent, input.refused, { ...input.answered, uid: ANOTHER } as const]) {
    const two = launchers([input.answered, answer], begun);
    for (let nowMs = NOW; nowMs < NOW + 10 * PROBE_MS; nowMs += PROBE_MS) for (const by of [0, 1]) two.probe(by, nowMs);
    t.match(two.ledger(), { health: "healthy", diagnosis: undefined });
    t.same([mayClaim(two.view(0)), mayClaim(two.view(1))], [true, false], answer.kind);
    t.same(two.said, ["0: healthy"]);
  }
});

t.test("a word is contradicted when the launcher that said it is gone", async (t) => {
  const two = launchers([input.answered, input.silent], begun);
  two.probe(0, NOW);
  for (let nowMs = NOW; nowMs <= NOW + 4 * PROBE_MS; nowMs += PROBE_MS) two.probe(1, nowMs);
  t.match(two.ledger(), { health: "unhealthy", diagnosis: { code: "EndpointUnreachable" } });
  t.ok(mayClaim(two.view(1)));
});

t.test("each state can be reached", async (t) => {
  const reached = new Set<string>();
  holds((told) => play(told, ({ after }) => void reached.add(after.state)));
  t.same([...reached].toSorted(), Object.keys(view).toSorted());
});
