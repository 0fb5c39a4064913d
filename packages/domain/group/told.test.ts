import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import t from "tap";
import { NOW } from "../attempt/testing/examples.ts";
import { open } from "./testing/placing.ts";
import { leftWords, type Seen, toldOf } from "./told.ts";

const east = { ...open("east" as never), watchedAtMs: NOW };
const at = { nowMs: NOW, hasLauncher: true };
const forbidden = diagnose("Forbidden", "It may not create Jobs.");
const full = { untilMs: NOW + 1, diagnosis: diagnose("QuotaExceeded", "The quota is full.") };

// biome-ignore format: a table
const cases: readonly { readonly name: string; readonly group?: Partial<Seen>; readonly at?: object; readonly word: string; readonly says: readonly (string | RegExp)[]; readonly stops: boolean }[] = [
  { name: "one that is well takes runs, and nothing is to be said", word: "healthy", says: [], stops: false },
  { name: "one that nobody watches is not called healthy, and takes runs", group: { watchedAtMs: NOW - 120_000 }, word: "unwatched", says: [/^Unwatched: No watcher has seen the group "east" for 120 s/], stops: false },
  { name: "one that is ill says why", group: { health: "unhealthy", diagnosis: forbidden }, word: "unhealthy", says: ["Forbidden: It may not create Jobs."], stops: true },
  { name: "a pause says who paused it and what for", group: { paused: true, pause: { actor: { name: "Ida" }, reason: "new nodes" } }, word: "paused", says: ["paused by Ida: new nodes"], stops: true },
  { name: "a paused one that is ill says both", group: { paused: true, health: "unhealthy", diagnosis: forbidden }, word: "paused", says: ["paused", /^Forbidden/], stops: true },
  { name: "one without room says so until that time has passed", group: { noRoom: full }, word: "healthy", says: ["no room: The quota is full."], stops: true },
  { name: "one whose room has come back says nothing", group: { noRoom: { ...full, untilMs: NOW } }, word: "healthy", says: [], stops: false },
  { name: "one that no launcher serves says what becomes of its Jobs", group: { servedAtMs: undefined, slotsUsed: 2 }, word: "unserved", says: [/nothing there is acted on$/], stops: true },
  { name: "while no launcher runs, nobody is blamed for not watching", group: { watchedAtMs: undefined }, at: { hasLauncher: false }, word: "unserved", says: [], stops: false },
];

for (const { name, group, at: more, word, says, stops } of cases)
  t.test(name, async (t) => {
    const told = toldOf({ ...east, ...group }, { ...at, ...more });
    t.equal(told.word, word);
    t.match(
      told.remarks.map((it) => it.says),
      says,
    );
    t.equal(told.remarks.length, says.length);
    t.equal(
      told.remarks.some((it) => it.stops),
      stops,
    );
  });

t.test("a hint names the group, and what to do with one that was left names the command that is known", async (t) => {
  const [ill] = toldOf({ ...east, health: "unhealthy", diagnosis: { ...forbidden, hint: "Ask `x <group>`." } }, at).remarks;
  t.equal(ill?.todo, "Ask `x east`.");
  const left = { ...east, servedAtMs: undefined, slotsUsed: 1 };
  t.match(toldOf(left, at).remarks[0]?.todo, /^put east back into the groups file/);
  t.match(toldOf(left, { ...at, toServe: "longshore up" }).remarks[0]?.todo, /start `longshore up`/);
});

t.test("what is left in a group is told in the order in which it goes, and nothing as nothing", async (t) => {
  t.equal(leftWords({ ended: 1, live: 2, ready: 3, done: 9 }), "3 in line, 2 running, 1 to be released");
  t.equal(leftWords({ done: 9 }), "");
});
