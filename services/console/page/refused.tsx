/** The page of refused requests: what is wrong with each, at its path, and a box in which a message is checked before it is sent. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Checked, RefusedRows } from "../answers.ts";
import { post, type Problem, Refusal } from "./api.ts";
import { Shown } from "./frame.tsx";
import { here } from "./go.ts";
import { Icon } from "./marks.tsx";
import { useAnswer } from "./use.ts";
import { exactly, when } from "./words.ts";

export function Refused(): JSX.Element {
  const before = here.value.searchParams.get("before");
  const asked = useAnswer<RefusedRows>("/v1/refused", before === null ? {} : { before });
  return (
    <>
      <div class="head"><h1>Refused requests</h1></div>
      <Check />
      <Shown asked={asked}>{(answer) => <Rows answer={answer} />}</Shown>
    </>
  ); // biome-ignore format: as it stands on the page
}

type Problems = RefusedRows["rows"][number]["problems"];

const List = ({ problems }: { readonly problems: Problems }): JSX.Element => (
  <ul class="problems">
    {problems.map(({ path, message }) => <li key={path + message}>{path !== "" && <code>{path}</code>} {message}</li>)}
  </ul>
); // biome-ignore format: one row a line

const Rows = ({ answer: { rows, before } }: { readonly answer: RefusedRows }): JSX.Element =>
  rows.length === 0 ? <p class="lead">No request was refused within a week.</p> : (
    <>
      <table class="rows of-refused">
        <thead><tr><th>Run</th><th>What is wrong</th><th class="number">When</th></tr></thead>
        <tbody>
          {rows.map(({ atMs, run, message, problems }, at) => (
            <tr key={`${atMs} ${at}`}>
              <td>{run === undefined ? "could not be read" : <code>{run}</code>}<br /><small>message {message}</small></td>
              <td><List problems={problems} /></td>
              <td class="number"><time title={exactly(atMs)}>{when(atMs, Date.now())}</time></td>
            </tr>
          ))}
        </tbody>
      </table>
      {before !== undefined && <p class="acts"><a href={`/refused?${new URLSearchParams({ before }).toString()}`}>Older ones</a></p>}
    </>
  ); // biome-ignore format: as it stands on the page

/** Nothing is sent: the launcher's own rules read the message, and say all that is wrong with it at once. */
function Check(): JSX.Element {
  const [message, setMessage] = useState("");
  const [found, setFound] = useState<Checked>();
  const [trouble, setTrouble] = useState<Problem>();
  const check = async (): Promise<void> => {
    setTrouble(undefined);
    try {
      setFound(await post<Checked>("/v1/check", { message }));
    } catch (error) {
      setFound(undefined);
      if (error instanceof Refusal) setTrouble(error.problem);
    }
  };
  return (
    <form class="panel check-message" onSubmit={(event) => { event.preventDefault(); void check(); }}>
      <label for="message">Check a message</label>
      <p class="about" id="message-about">Paste a whole message. It is read by the launcher's rules, and not sent.</p>
      <textarea id="message" class="json" rows={6} aria-describedby="message-about" spellcheck={false} value={message} onInput={(event) => setMessage(event.currentTarget.value)} />
      <div class="acts"><button type="submit">Check</button></div>
      <div role="status">
        {trouble !== undefined && <p class="problem">{trouble.detail}</p>}
        {found?.kind === "refused" && <><p class="state failed"><Icon of="failed" /> <b>It would be refused</b></p><List problems={[...found.problems]} /></>}
        {found?.kind === "taken" && <p class="state succeeded"><Icon of="succeeded" /> <span><b>It can be read.</b> {saysOf(found)}</span></p>}
      </div>
    </form>
  ); // biome-ignore format: as it stands on the page
}

function saysOf({ type, run, group, definition, steps }: Extract<Checked, { kind: "taken" }>): string {
  if (group !== undefined) return `It is a ${type} for the group ${group}.`;
  if (type !== "run.requested") return `It is a ${type} for the run ${run}.`;
  const told = steps.map(({ name, image }) => (image === undefined ? name : `${name} (${image})`)).join(", ");
  return `It asks for the run ${run}${definition === undefined ? "" : ` of ${definition}`}, with ${steps.length === 1 ? "the step" : "the steps"} ${told}.`;
}
