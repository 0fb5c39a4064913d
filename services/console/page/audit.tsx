/** The page of deeds: each with its person and its answer, those that no rule let among them. */
import type { JSX } from "preact";
import type { AuditRows } from "../answers-for-operators.ts";
import { Empty, Shown } from "./frame.tsx";
import { here, runUrl } from "./go.ts";
import { Icon } from "./marks.tsx";
import { useAnswer } from "./use.ts";
import { exactly, when } from "./words.ts";

const WORDS: Readonly<Record<AuditRows["rows"][number]["state"], string>> = {
  open: "not answered yet",
  done: "done",
  refused: "refused by the launcher",
  denied: "no rule lets them",
};

const ON_GROUPS = ["pause", "drain", "resume"];

export function Audit(): JSX.Element {
  const before = here.value.searchParams.get("before");
  const asked = useAnswer<AuditRows>("/v1/audit", before === null ? {} : { before });
  return <Shown asked={asked}>{(answer) => <Rows answer={answer} />}</Shown>;
}

const Rows = ({ answer: { rows, before } }: { readonly answer: AuditRows }): JSX.Element =>
  rows.length === 0 ? (
    <Empty mark="to come" title="Nobody has done anything yet"><p>What people run, stop and restart here stands on this page, with their names.</p></Empty>
  ) : (
    <>
      <div class="head"><h1>Who did what</h1></div>
      <table class="rows of-deeds">
        <thead><tr><th>Who</th><th>What</th><th class="number">When</th><th>Then</th></tr></thead>
        <tbody>
          {rows.map(({ atMs, by, deed, about, state }, at) => (
            <tr key={`${atMs} ${at}`}>
              <td><b>{by.name}</b>{by.id !== undefined && <small> {by.id}</small>}</td>
              <td>{deed} {state === "denied" ? <code>{about}</code> : <a href={ON_GROUPS.includes(deed) ? "/groups" : runUrl(about)}><code>{about}</code></a>}</td>
              <td class="number"><time title={exactly(atMs)}>{when(atMs, Date.now())}</time></td>
              <td class="then">{state === "denied" && <Icon of="padlock" />}{WORDS[state]}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {before !== undefined && <p class="acts"><a href={`/audit?before=${before}`}>Older rows</a></p>}
    </>
  ); // biome-ignore format: as it stands on the page
