/** Who did what, and who was not let. */
import type { JSX } from "preact";
import { Empty, Shown } from "./frame.tsx";
import { here, runUrl } from "./go.ts";
import { useAnswer } from "./use.ts";
import { exactly } from "./words.ts";

interface Row {
  readonly atMs: number;
  readonly by: { readonly name: string; readonly id?: string };
  readonly deed: string;
  readonly about: string;
  readonly state: "open" | "done" | "refused" | "denied";
}

interface Answer {
  readonly rows: readonly Row[];
  readonly before?: string;
}

const WORDS: Readonly<Record<Row["state"], string>> = {
  open: "not answered yet",
  done: "done",
  refused: "refused by the launcher",
  denied: "no rule lets them",
};

export function Audit(): JSX.Element {
  const before = here.value.searchParams.get("before");
  const asked = useAnswer<Answer>("/v1/audit", before === null ? {} : { before });
  return <Shown asked={asked}>{(answer) => <Rows answer={answer} />}</Shown>;
}

const Rows = ({ answer: { rows, before } }: { readonly answer: Answer }): JSX.Element =>
  rows.length === 0 ? (
    <Empty mark="to come" title="Nobody has done anything yet"><p>What people run, stop and restart here stands on this page, with their names.</p></Empty>
  ) : (
    <>
      <div class="head"><h1>Who did what</h1></div>
      <table class="rows">
        <thead><tr><th>When</th><th>Who</th><th>What</th><th>Of</th><th>Then</th></tr></thead>
        <tbody>
          {rows.map(({ atMs, by, deed, about, state }, at) => (
            <tr key={`${atMs} ${at}`}>
              <td>{exactly(atMs)}</td>
              <td>{by.name}{by.id !== undefined && <small> {by.id}</small>}</td>
              <td>{deed}</td>
              <td>{state === "denied" ? <code>{about}</code> : <a href={runUrl(about)}><code>{about}</code></a>}</td>
              <td>{WORDS[state]}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {before !== undefined && <p class="acts"><a href={`/audit?before=${before}`}>Older rows</a></p>}
    </>
  ); // biome-ignore format: as it stands on the page
