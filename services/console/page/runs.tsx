/** The newest runs, one in each line. New ones wait until they are asked for: nothing moves under the pointer. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { RunRows } from "../answers.ts";
import { Bulk } from "./bulk.tsx";
import { Empty, LiveMark, Shown } from "./frame.tsx";
import { here, runUrl } from "./go.ts";
import { Icon, wordOf } from "./marks.tsx";
import { who } from "./who.ts";
import { useAnswer, useNow } from "./use.ts";
import { exactly, span, when } from "./words.ts";

/** The parts of the address that say which runs. */
const ASKED = ["before", "code", "definition", "find", "group", "mine", "outcome"];
/** Of these, the parts that one comes with from elsewhere: a line says them, and how to see all. */
const ONLY = ["find", "definition", "code", "group"];

const OUTCOMES = { "": "All", active: "Unfinished", failed: "Failed", succeeded: "Succeeded" } as const;

export function Runs(): JSX.Element {
  const query = Object.fromEntries([...here.value.searchParams].filter(([name]) => ASKED.includes(name)));
  const asked = useAnswer<RunRows>("/v1/runs", query);
  return (
    <Shown asked={asked}>
      {(answer) => <List key={JSON.stringify(query)} answer={answer} query={query} staleSinceMs={asked.staleSinceMs} />}
    </Shown>
  );
}

function List({
  answer: { rows, before, searchedBackToMs },
  query,
  staleSinceMs,
}: {
  readonly answer: RunRows;
  readonly query: Readonly<Record<string, string>>;
  readonly staleSinceMs: number | undefined;
}): JSX.Element {
  const [shownIds, setShown] = useState<readonly string[]>([]);
  const fresh = shownIds.length === 0 ? [] : rows.filter(({ id }) => !shownIds.includes(id));
  const show = (): void => setShown(rows.map(({ id }) => id));
  useEffect(() => {
    if (shownIds.length === 0 && rows.length > 0) show();
  }, [rows]);
  const shown = shownIds.length === 0 ? rows : rows.filter(({ id }) => shownIds.includes(id));
  const now = useNow(shown.some(({ endedAtMs }) => endedAtMs === undefined));
  const only = ONLY.flatMap((it) => query[it] ?? []);
  const isAll = Object.keys(query).length === 0;
  if (rows.length === 0 && isAll) return <Empty mark="to come" title="No runs yet"><p>They stand here as soon as somebody asks for one: <a href="/">the catalogue</a> has the jobs.</p></Empty>; // biome-ignore format: one sentence
  const others = before === undefined ? undefined : <a href={urlOf(query, { before })}>Older runs</a>;
  return (
    <>
      <div class="head">
        <h1>Runs</h1>
        <div class="filters" role="group" aria-label="Show">
          {Object.entries(OUTCOMES).map(([key, word]) => (
            <a key={key} href={urlOf(query, { outcome: key })} aria-current={(query["outcome"] ?? "") === key ? "true" : undefined}>{word}</a>
          ))}
          <a href={urlOf(query, { mine: query["mine"] === "true" ? "" : "true" })} aria-current={query["mine"] === "true" ? "true" : undefined}>Mine</a>
        </div>
        <LiveMark staleSinceMs={staleSinceMs} />
      </div>
      {who.value?.may.includes("operate") === true && <Bulk query={query} />}
      {only.length > 0 && <p class="lead">Only <code>{only.join(", ")}</code>. <a href={urlOf(query, Object.fromEntries(ONLY.map((it) => [it, ""])))}>All runs</a></p>}
      {rows.length === 0 && <p class="lead">{searchedBackToMs === undefined ? "No run is like that." : `None since ${exactly(searchedBackToMs)}.`} {others}</p>}
      {rows.length > 0 &&       <table class="rows">
        <thead><tr><th>State</th><th>Run</th><th class="number">Asked</th><th class="number">Time</th><th>Why</th></tr></thead>
        <tbody>
          {fresh.length > 0 && <tr class="fresh"><td colSpan={5}><button type="button" onClick={show}>{fresh.length} new</button></td></tr>}
          {shown.map((it) => (
            <tr key={it.id}>
              <td class={`state ${it.state}`}><Icon of={it.state} /> <b>{wordOf(it.state)}</b></td>
              <td><a href={runUrl(it.id)}><code>{it.id}</code></a></td>
              <td class="number">{when(it.askedAtMs, now)}</td>
              <td class="number">{span((it.endedAtMs ?? now) - it.askedAtMs)}</td>
              <td>{it.code}</td>
            </tr>
          ))}
        </tbody>
      </table>}
      {rows.length > 0 && others !== undefined && <p class="acts">{others} {searchedBackToMs !== undefined && <small>searched back to {exactly(searchedBackToMs)}</small>}</p>}
    </>
  ); // biome-ignore format: as it stands on the page
}

/** The address with these parts changed; an empty part is left out, and a change begins again with the newest. */
function urlOf(query: Readonly<Record<string, string>>, change: Readonly<Record<string, string>>): string {
  const all = Object.entries({ ...query, before: "", ...change }).filter(([, value]) => value !== "");
  return all.length === 0 ? "/runs" : `/runs?${new URLSearchParams(all).toString()}`;
}
