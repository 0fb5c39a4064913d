/** The part of a run's page that only operators see: where it ran and why there, its attempts, and the commands that show more. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { OperatorsView } from "../answers.ts";
import { Gantt } from "./bars.tsx";
import { Icon } from "./marks.tsx";

export function ForOperators({ of, nowMs }: { readonly of: OperatorsView; readonly nowMs: number }): JSX.Element {
  const { considered, attempts, commands, digest, source } = of;
  return (
    <details class="operators">
      <summary><b>For operators</b> <small>not shown to people who only run jobs</small></summary>
      <div class="panel">
        <div class="two">
          <section>
            <h3>Where it ran, and why</h3>
            {considered.length === 0 ? <p>No group was looked at yet.</p> : (
              <table class="plain">
                <thead><tr><th>Group</th><th>Verdict</th><th>Why</th></tr></thead>
                <tbody>
                  {considered.map(({ group, verdict, why }) => (
                    <tr key={group}><td><code>{group}</code></td><td class={`state ${verdict === "chosen" ? "succeeded" : "none"}`}><Icon of={verdict === "chosen" ? "succeeded" : "skipped"} /> <b>{verdict === "chosen" ? "Taken" : "Skipped"}</b></td><td>{why}</td></tr>
                  ))}
                </tbody>
              </table>
            )}
            <dl>
              <div><dt>Sent by</dt><dd>{source}</dd></div>
              {digest !== undefined && <div><dt>Definition</dt><dd><code>{digest}</code></dd></div>}
            </dl>
          </section>
          <section>
            <h3>In the cluster</h3>
            {attempts.map(({ step, number, job, namespace, pod, node, exitCode, result, code }) => (
              <dl key={`${step} ${number}`} aria-label={`${step}, attempt ${number}`}>
                <div><dt>{step}</dt><dd>attempt {number}{result !== undefined && `, ${result}`}{code !== undefined && `, ${code}`}</dd></div>
                {job !== undefined && <div><dt>Job</dt><dd><code>{namespace === undefined ? job : `${namespace}/${job}`}</code></dd></div>}
                {pod !== undefined && <div><dt>Pod</dt><dd><code>{pod}</code>{node !== undefined && <> on <code>{node}</code></>}</dd></div>}
                {exitCode !== undefined && <div><dt>Exit code</dt><dd>{exitCode}</dd></div>}
              </dl>
            ))}
          </section>
        </div>
        {attempts.some(({ phases }) => phases.length > 0) && <Gantt attempts={attempts} nowMs={nowMs} />}
        {commands.map((it) => <Command key={it} text={it} />)}
        {commands.length === 0 && attempts.some(({ job }) => job !== undefined) && <p><small>It ran as a process on the launcher's machine: no kubectl reaches it.</small></p>}
      </div>
    </details>
  );
} // biome-ignore format: as it stands on the page

function Command({ text }: { readonly text: string }): JSX.Element {
  const [isCopied, setCopied] = useState(false);
  const copy = (): void => void navigator.clipboard.writeText(text).then(() => setCopied(true), () => undefined); // biome-ignore format: one line
  return (
    <div class="command">
      <code>{text}</code>
      <button type="button" class="small" aria-label={`Copy: ${text}`} onClick={copy}><Icon of={isCopied ? "check" : "copy"} /> {isCopied ? "Copied" : "Copy"}</button>
    </div>
  );
} // biome-ignore format: as it stands on the page
