/** The marks of states and acts: each has a shape of its own, and a word beside it wherever it stands. */
import type { ComponentChildren, JSX } from "preact";
import type { State } from "../views/state.ts";

export type Mark =
  | State
  | "to come"
  | "passed"
  | "skipped"
  | "download"
  | "about"
  | "search"
  | "copy"
  | "again"
  | "back"
  | "down"
  | "wrap"
  | "live"
  | "stale"
  | "padlock"
  | "none"
  | "gone"
  | "check"
  | "paused"
  | "resume"
  | "alert";

const ring = <circle cx="8" cy="8" r="6.25" />;
const SHAPES: Readonly<Record<Mark, JSX.Element>> = {
  succeeded: <g><circle cx="8" cy="8" r="7" class="fill" /><path d="M4.8 8.3l2.2 2.2 4.2-4.6" class="on" /></g>,
  failed: <g><path d="M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1z" class="fill" /><path d="M5.5 5.5l5 5m0-5l-5 5" class="on" /></g>,
  running: <g class="turns">{ring}<path d="M8 1.75a6.25 6.25 0 010 12.5z" class="fill" /></g>,
  starting: <g>{ring}<path d="M8 1.75A6.25 6.25 0 0114.25 8H8z" class="fill" /></g>,
  waiting: <g>{ring}<path d="M8 4.5V8l2.5 1.5" /></g>,
  stalled: <g><path d="M8 1.8l6.6 12H1.4z" /><path d="M8 6v3.6M8 11.4v.6" /></g>,
  stopping: <g><circle cx="8" cy="8" r="6.25" stroke-dasharray="2.6 2.3" /><rect x="5.75" y="5.75" width="4.5" height="4.5" class="fill" /></g>,
  stopped: <g>{ring}<rect x="5.75" y="5.75" width="4.5" height="4.5" class="fill" /></g>,
  lost: <g><path d="M8 1.2L14.8 8 8 14.8 1.2 8z" /><path d="M6.6 6.6a1.4 1.4 0 112 1.3c-.5.3-.6.5-.6 1M8 10.6v.5" /></g>,
  "to come": <circle cx="8" cy="8" r="6.25" stroke-dasharray="2.6 2.3" />,
  skipped: <path d="M3 3.5L7.5 8 3 12.5M8.5 3.5L13 8l-4.5 4.5" />,
  download: <path d="M8 2v8.5M4.2 7L8 10.8 11.8 7M2.5 14h11" />,
  about: <g>{ring}<path d="M8 7.4v3.4M8 5v.4" /></g>,
  passed: <circle cx="8" cy="8" r="4" class="fill" />,
  none: <g>{ring}<path d="M5 8h6" /></g>,
  gone: <rect x="2.5" y="2.5" width="11" height="11" stroke-dasharray="2.6 2.3" />,
  padlock: <g><rect x="3" y="7" width="10" height="7" rx="1" /><path d="M5.2 7V4.8a2.8 2.8 0 015.6 0V7" /></g>,
  search: <g><circle cx="7" cy="7" r="4.75" /><path d="M10.5 10.5L14 14" /></g>,
  copy: <g><rect x="5.5" y="5.5" width="8.5" height="8.5" rx="1" /><path d="M10.5 5.5V3a1 1 0 00-1-1H3a1 1 0 00-1 1v6.5a1 1 0 001 1h2.5" /></g>,
  again: <g><path d="M13.5 8A5.5 5.5 0 118 2.5c1.8 0 3.4.8 4.4 2.2" /><path d="M12.8 1.8v3.2H9.6" /></g>,
  back: <path d="M10 3L5 8l5 5" />,
  wrap: <path d="M2 3.5h12M2 8h10a2.5 2.5 0 010 5H8.5M10.5 11l-2 2 2 2M2 13h3" />,
  down: <path d="M3.5 6L8 10.5 12.5 6" />,
  live: <g><circle cx="8" cy="8" r="2" class="fill" /><path d="M4.2 4.2a5.4 5.4 0 000 7.6M11.8 4.2a5.4 5.4 0 010 7.6" /></g>,
  stale: <g><path d="M8 1.8l6.6 12H1.4z" /><path d="M8 6v3.6M8 11.4v.6" /></g>,
  paused: <path d="M5.5 3v10M10.5 3v10" />,
  resume: <path d="M4.5 2.5l8 5.5-8 5.5z" />,
  check: <path d="M3 8.5l3.2 3.2L13 4.6" />,
  alert: <g><path d="M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1z" class="fill" /><path d="M8 4.2v4.4M8 11v.8" class="on" /></g>,
}; // biome-ignore format: one shape a line

export const Icon = ({ of }: { readonly of: Mark }): JSX.Element => (
  <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
    {SHAPES[of]}
  </svg>
);

const WORDS: Readonly<Record<State, string>> = {
  waiting: "Waiting",
  starting: "Starting",
  running: "Running",
  stalled: "Stalled",
  stopping: "Stopping",
  succeeded: "Succeeded",
  failed: "Failed",
  stopped: "Stopped",
  lost: "Lost",
};
export const wordOf = (state: State): string => WORDS[state];

/** A state's mark and word, with what else is known about it behind. */
export const StateLine = ({ state, children }: { readonly state: State; readonly children?: ComponentChildren }): JSX.Element => (
  <span class={`state ${state}`}>
    <Icon of={state} />
    <span>
      <b>{wordOf(state)}</b> {children}
    </span>
  </span>
);

const MARKS = 10;
/** The last ten runs on one line, the newest on the right; a tick where there was none yet. */
export function TenMarks({ marks }: { readonly marks: readonly State[] }): JSX.Element {
  const shown = [...Array.from({ length: MARKS - marks.length }, () => undefined), ...marks];
  const counts = Map.groupBy(marks, (it) => it);
  const told = [...counts].map(([state, all]) => `${all.length} ${wordOf(state).toLowerCase()}`).join(", ");
  return (
    <svg class="ten" viewBox="0 0 130 18" width="130" height="18" role="img" aria-label={marks.length === 0 ? "no runs yet" : `the last ${marks.length} runs: ${told}`}>
      {shown.map((state, at) => <g key={at} class={state ?? "none"} transform={`translate(${at * 13 + 3} 0)`}>{tenth(state)}</g>)}
      <path class="shore" d="M0 16.5h130" />
    </svg>
  ); // biome-ignore format: one mark a line
}

function tenth(state: State | undefined): JSX.Element {
  if (state === undefined) return <path d="M3.5 10.5v3.5" class="tick" />;
  if (state === "succeeded") return <rect x="1" y="2" width="5" height="12" class="fill" />;
  if (state === "failed") return <path d="M0 4l8 8m0-8l-8 8" class="cross" />;
  if (state === "stopped") return <rect x="1" y="8" width="5.5" height="5.5" class="hollow" />;
  if (state === "lost") return <path d="M4 4l4 4.5-4 4.5-4-4.5z" class="hollow" />;
  return <g><rect x="1" y="2.5" width="5" height="11" class="hollow" /><rect x="1" y="8" width="5" height="6" class="fill" /></g>; // biome-ignore format: one mark
}
