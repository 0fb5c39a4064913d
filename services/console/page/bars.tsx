/**
 * The small pictures of operators' pages: drawn by our own hand, each with the words or the table that say the same.
 *
 * The failure this prevents: a picture that a screen reader, or somebody who sees no colours, cannot read.
 */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { AttemptView, OperatorsView, Phase } from "../answers.ts";
import type { GroupView } from "../answers-for-operators.ts";
import { Icon } from "./marks.tsx";
import { second, span } from "./words.ts";

const WIDTH = 144;

/** Used, in line and free, on one bar: what is in line is hatched, what is free is empty. */
export function SlotsBar({ slots: { used, inLine, of } }: Pick<GroupView, "slots">): JSX.Element {
  const at = (count: number): number => (of === 0 ? 0 : Math.min(1, count / of) * WIDTH);
  return (
    <svg class="bar" viewBox={`0 0 ${WIDTH} 10`} preserveAspectRatio="none" role="img" aria-label={slotsText({ used, inLine, of })}>
      <rect x="0" y="0" width={at(used - inLine)} height="10" class="full" />
      <rect x={at(used - inLine)} y="0" width={at(used) - at(used - inLine)} height="10" fill="url(#hatch)" />
      <rect x="0.5" y="0.5" width={WIDTH - 1} height="9" rx="1" class="frame" />
    </svg>
  ); // biome-ignore format: one shape a line
}

/** "12 used, 2 of them in line, 28 free" */
export function slotsText({ used, inLine, of }: GroupView["slots"]): string {
  const free = Math.max(0, of - used);
  return [`${used} used`, inLine > 0 && `${inLine} of them in line`, free === 0 ? "full" : `${free} free`]
    .filter(Boolean)
    .join(", ");
}

/** The pattern of all hatched shapes, once a page: by its name they find it. */
export const Hatch = (): JSX.Element => (
  <svg class="patterns" width="0" height="0" aria-hidden="true">
    <defs>
      <pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect width="5" height="5" class="paper" />
        <path d="M0 0v5" class="stripe" />
      </pattern>
    </defs>
  </svg>
);

const MARK = { succeeded: "succeeded", failed: "failed", cancelled: "stopped", lost: "lost", refused: "failed", deleted: "failed", moved: "skipped" } as const; // biome-ignore format: one row

/** Each attempt is a line of phases: empty while it waits, hatched while it starts, filled while it runs. */
export function Gantt({ attempts, nowMs }: Pick<OperatorsView, "attempts"> & { readonly nowMs: number }): JSX.Element {
  const [isTable, setTable] = useState(false);
  const all = attempts.flatMap(({ phases }) => phases);
  const fromMs = Math.min(...all.map(({ fromMs }) => fromMs));
  const toMs = Math.max(fromMs + 1, ...all.map(({ toMs = nowMs }) => toMs));
  return (
    <section class="gantt">
      <div class="gantt-head">
        <h3>Steps and attempts</h3>
        {!isTable && <p class="key">{(["waiting", "starting", "running"] as const).map((it) => <span key={it}><Swatch of={it} /> {it}</span>)}</p>}
        <div class="choice" role="group" aria-label="Show as">
          <button type="button" aria-pressed={!isTable} onClick={() => setTable(false)}>Chart</button>
          <button type="button" aria-pressed={isTable} onClick={() => setTable(true)}>Table</button>
        </div>
      </div>
      {isTable ? <PhaseTable attempts={attempts} nowMs={nowMs} /> : (
        <ol class="lines" aria-label={`From ${second(fromMs)} to ${second(toMs)}`}>
          {attempts.map((it) => <Line key={`${it.step} ${it.number}`} attempt={it} fromMs={fromMs} toMs={toMs} nowMs={nowMs} />)}
          <li class="axis" aria-hidden="true"><span>{second(fromMs)}</span><span>{second(toMs)}</span></li>
        </ol>
      )}
    </section>
  ); // biome-ignore format: as it stands on the page
}

const Swatch = ({ of }: { readonly of: Phase["name"] }): JSX.Element => (
  <svg class="bar" viewBox="0 0 18 10" width="18" height="10" aria-hidden="true">
    <rect x="0.5" y="0.5" width="17" height="9" class={`phase ${of}`} fill={fillOf(of)} />
  </svg>
);

/** The others' fills are colours of the theme. */
const fillOf = (name: Phase["name"]): string | undefined => (name === "starting" ? "url(#hatch)" : undefined);

interface LineOf {
  readonly attempt: AttemptView;
  readonly fromMs: number;
  readonly toMs: number;
  readonly nowMs: number;
}

function Line({ attempt: { step, number, phases, result, code }, fromMs, toMs, nowMs }: LineOf): JSX.Element {
  const at = (ms: number): number => ((ms - fromMs) / (toMs - fromMs)) * 100;
  const told = phases.map((it) => `${it.name} ${lengthOf(it, nowMs)}`).join(", ");
  return (
    <li>
      <b>{step} <small>attempt {number}</small></b>
      <svg class="bar" width="100%" height="14" role="img" aria-label={told === "" ? "nothing yet" : told}>
        {phases.map((it) => <rect key={it.name} x={`${at(it.fromMs)}%`} y="1" width={`${Math.max(0.3, at(it.toMs ?? nowMs) - at(it.fromMs))}%`} height="12" class={`phase ${it.name}`} fill={fillOf(it.name)} />)}
      </svg>
      <span class={`state ${result === undefined ? "running" : MARK[result]}`}>
        <Icon of={result === undefined ? "running" : MARK[result]} /> <span>{[lastLength(phases, nowMs), code].filter(Boolean).join(", ")}</span>
      </span>
    </li>
  ); // biome-ignore format: as it stands on the page
}

const lengthOf = ({ fromMs, toMs }: Phase, nowMs: number): string => span((toMs ?? nowMs) - fromMs);

const lastLength = (phases: readonly Phase[], nowMs: number): string => {
  const last = phases.at(-1);
  return last === undefined ? "" : last.name === "running" ? lengthOf(last, nowMs) : last.name;
};

const PhaseTable = ({ attempts, nowMs }: Pick<OperatorsView, "attempts"> & { readonly nowMs: number }): JSX.Element => (
  <table class="plain">
    <thead><tr><th>Step</th><th class="number">Attempt</th>{["Waiting", "Starting", "Running"].map((it) => <th key={it} class="number">{it}</th>)}<th>End</th></tr></thead>
    <tbody>
      {attempts.map(({ step, number, phases, result = "goes on", code }) => (
        <tr key={`${step} ${number}`}>
          <td>{step}</td>
          <td class="number">{number}</td>
          {(["waiting", "starting", "running"] as const).map((name) => {
            const found = phases.find((it) => it.name === name);
            return <td key={name} class="number">{found === undefined ? "–" : lengthOf(found, nowMs)}</td>;
          })}
          <td>{[result, code].filter(Boolean).join(", ")}</td>
        </tr>
      ))}
    </tbody>
  </table>
); // biome-ignore format: as it stands on the page
