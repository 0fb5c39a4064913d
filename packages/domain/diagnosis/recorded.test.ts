/** Each recording of a real cluster that `npm run fixtures` makes, and the diagnosis that a person is told. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { saysWhatToDo } from "./testing/action.ts";
import { type Recorded, toldOf } from "./testing/recorded.ts";

/** Words that programs use about themselves. Only the evidence may have them. */
const JARGON =
  /rpc error|code = |ctx|<nil>|%!|goroutine|dial tcp|context deadline|Client\.Timeout|preemption: 0\/|\[object|undefined/;

const folder = join(import.meta.dirname, "testing/fixtures");
const files = readdirSync(folder).filter((it) => it.endsWith(".json"));
t.ok(files.length > 0, "there are recordings");

for (const file of files.toSorted()) {
  const { happened, seen, told } = JSON.parse(readFileSync(join(folder, file), "utf8")) as Recorded;
  t.test(`${file}: ${happened}`, async (t) => {
    const found = toldOf(seen);
    t.match(found, told);
    t.match(found?.sentence, /^[A-Z"].{10,400}\.$/s, "one sentence");
    t.notMatch(found?.sentence, JARGON, "which its reader understands");
    t.ok((found?.evidence ?? []).length > 0 || told.code === "DeletedExternally", "with what the cluster itself said beside it");
    t.match(found?.hint, /^[A-Z`].{10,250}\.$/s, "and a hint");
    t.ok(saysWhatToDo(found?.hint ?? ""), "which says what to do");
  });
}
