/** The newest runs, one in each line. New ones wait until they are asked for: nothing moves under the pointer. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { State } from "../views/state.ts";
import { runUrl } from "./catalogue.tsx";
import { Empty, LiveMark, Shown } from "./frame.tsx";
import { here } from "./go.ts";
import { Icon, wordOf } from "./marks.tsx";
import { useAnswer, useNow } from "./use.ts";
import { span, when } from "./words.ts";

interface Row {
  readonly id: string;
  readonly state: State;
  readonly askedAtMs: number;
  readonly endedAtMs?: number;
  readonly code?: string;
}

interface Answer {
  readonly rows: readonly Row[];
  readonly before?: string;
}

export function Runs(): JSX.Element {
  const before = here.value.searchParams.get("before");
  const asked = useAnswer<Answer>("/v1/runs", before === null ? {} : { before });
  return <Shown asked={asked}>{(answer) => <List answer={answer} staleSinceMs={asked.staleSinceMs} />}</Shown>;
}

function List({
  answer: { rows, before },
  staleSinceMs,
}: {
  readonly answer: Answer;
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
  if (rows.length === 0) return <Empty mark="to come" title="No runs yet"><p>They stand here as soon as somebody asks for one: <a href="/">the catalogue</a> has the jobs.</p></Empty>; // biome-ignore format: one sentence
  return (
    <>
      <div class="head">
        <h1>Runs</h1>
        <LiveMark staleSinceMs={staleSinceMs} />
      </div>
      <table class="rows">
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
      </table>
      {before !== undefined && <p class="acts"><a href={`/runs?before=${before}`}>Older runs</a></p>}
    </>
  ); // biome-ignore format: as it stands on the page
}
