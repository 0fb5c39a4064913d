/**
 * What developers look for, folded away from everybody else: a run's events as they were published, and the ways to ask for the
 * same run from a program.
 */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { RunView, Story } from "../answers.ts";
import { ask } from "./api.ts";
import type { Schema } from "./fields.tsx";
import { Icon } from "./marks.tsx";
import { exactly, second } from "./words.ts";

/** The events are asked for when somebody opens it, and again when there are more. */
export function RunForDevelopers({ run }: { readonly run: RunView }): JSX.Element {
  const [isOpen, setOpen] = useState(false);
  const [story, setStory] = useState<Story>();
  useEffect(() => {
    if (isOpen) void ask<Story>("/v1/story", { run: run.id }).then(setStory, () => undefined);
  }, [isOpen, run.sequence]);
  const link = (path: string, query: object, word: string): JSX.Element => (
    <a href={`${path}?${new URLSearchParams({ ...query }).toString()}`} target="_blank" rel="noreferrer">{word}</a>
  ); // biome-ignore format: one link
  return (
    <details class="panel developers" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary><Icon of="down" /> For developers</summary>
      <p class="acts">
        As JSON: {link("/v1/story", { run: run.id }, "story")} {link("/v1/run", { id: run.id }, "run")} {link("/v1/request", { run: run.id }, "request")}
      </p>
      {story !== undefined && (
        <div class="wide" role="region" aria-label="Events" tabIndex={0}>
          <table class="rows">
            <thead><tr><th class="number">No.</th><th>When</th><th>Type</th><th>Data</th></tr></thead>
            <tbody>
              {story.events.map(({ id, sequence, time, type, data }) => (
                <tr key={id}>
                  <td class="number">{Number(sequence)}</td>
                  <td><time title={exactly(Date.parse(time))}>{second(Date.parse(time))}</time></td>
                  <td>{type.replace("dev.longshore.", "")}</td>
                  <td><code>{JSON.stringify(data)}</code></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {story?.after !== undefined && <p>{link("/v1/story", { run: run.id, after: story.after }, "The events that follow")}</p>}
    </details>
  ); // biome-ignore format: as it stands on the page
}

interface Asking {
  readonly run: string;
  readonly definition: string;
  readonly schema: Schema;
  readonly values: Readonly<Record<string, unknown>>;
}

/** A value that is only written, never read, is a secret: it stands in no command that somebody copies. */
const shownOf = ({ schema: { properties = {} }, values }: Asking): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(values).filter(([name]) => properties[name]?.writeOnly !== true));

export function StartForDevelopers(asking: Asking): JSX.Element {
  const { run, definition } = asking;
  const parameters = shownOf(asking);
  const quoted = `'${JSON.stringify({ run, definition, parameters }).replaceAll("'", `'\\''`)}'`;
  const curl = `curl ${location.origin}/v1/runs \\\n  -H "authorization: Bearer $LONGSHORE_TOKEN" \\\n  -H 'content-type: application/json' \\\n  -d ${quoted}`;
  const message = {
    ...{ specversion: "1.0", id: `${run}/1`, source: "/your/application", type: "dev.longshore.run.requested" },
    data: { run, definition, parameters },
  };
  return (
    <details class="panel developers">
      <summary><Icon of="down" /> For developers</summary>
      <Copied title="The same run, by HTTP" text={curl} />
      <Copied title="The same run, as a message" text={JSON.stringify(message, null, 2)} />
    </details>
  ); // biome-ignore format: as it stands on the page
}

function Copied({ title, text }: { readonly title: string; readonly text: string }): JSX.Element {
  const [copied, setCopied] = useState<string>();
  const copy = (): Promise<void> => navigator.clipboard.writeText(text).then(() => setCopied(text), () => undefined); // biome-ignore format: one line
  return (
    <section>
      <div class="head">
        <h2>{title}</h2>
        <button type="button" class="small" aria-label={`Copy: ${title}`} onClick={() => void copy()}>
          <Icon of={copied === text ? "check" : "copy"} /> {copied === text ? "Copied" : "Copy"}
        </button>
      </div>
      <pre tabIndex={0} aria-label={title}>{text}</pre>
    </section>
  ); // biome-ignore format: as it stands on the page
}
