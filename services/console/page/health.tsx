/** How the whole is: each part well, to be looked at, or broken, and what to do. What is worst stands first. */
import type { JSX } from "preact";
import type { Health as Answer, HealthRow } from "../answers-for-operators.ts";
import { LiveMark, Shown } from "./frame.tsx";
import { Icon, type Mark } from "./marks.tsx";
import { Told } from "./told.tsx";
import { LOOK_MS, useAnswer } from "./use.ts";

const WORDS: Readonly<Record<HealthRow["state"], readonly [mark: Mark, tone: string, word: string]>> = {
  broken: ["failed", "failed", "Broken"],
  look: ["stalled", "stalled", "Look at this"],
  ok: ["succeeded", "succeeded", "Ok"],
};
const ORDER = ["broken", "look", "ok"] as const;

export function Health(): JSX.Element {
  const asked = useAnswer<Answer>("/v1/health", {}, undefined, LOOK_MS);
  return <Shown asked={asked}>{({ rows }) => <Rows rows={rows} staleSinceMs={asked.staleSinceMs} />}</Shown>;
}

function Rows({ rows, staleSinceMs }: { readonly rows: readonly HealthRow[]; readonly staleSinceMs: number | undefined }): JSX.Element {
  const sorted = ORDER.flatMap((state) => rows.filter((it) => it.state === state));
  const count = (state: HealthRow["state"]): number => rows.filter((it) => it.state === state).length;
  const sum = [count("broken") > 0 && `${count("broken")} broken`, count("look") > 0 && `${count("look")} to look at`].filter(Boolean);
  return (
    <>
      <div class="head"><h1>Health</h1><LiveMark staleSinceMs={staleSinceMs} /></div>
      <p class="lead" role="status">{sum.length === 0 ? "All is well." : `${sum.join(", ")}.`}</p>
      <table class="rows of-health">
        <thead><tr><th>Part</th><th>How it is</th><th>What was found, and what to do</th></tr></thead>
        <tbody>
          {sorted.map(({ part, state, says, todo }, at) => {
            const [mark, tone, word] = WORDS[state];
            return (
              <tr key={`${part} ${at}`}>
                <td><b>{part}</b></td>
                <td class={`state ${tone}`}><Icon of={mark} /> <b>{word}</b></td>
                <td><Told>{says}</Told>{todo !== undefined && <small><Told>{todo}</Told></small>}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </>
  );
} // biome-ignore format: as it stands on the page
