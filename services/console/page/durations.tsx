/** How long the newest runs of a job took: each end has a shape of its own, and the table says the same in words. */
import type { JSX } from "preact";
import type { Card, Ending } from "../answers.ts";
import type { State } from "../views/state.ts";
import { runUrl } from "./go.ts";
import { Icon, wordOf } from "./marks.tsx";
import { roughly, span, when } from "./words.ts";

const WIDTH = 300;
const HEIGHT = 96;
const MARGIN = 5;
const SHORE = HEIGHT - MARGIN;
const MOST = 50;
/** Clusters tell times to the second. */
const LEAST_MS = 1_000;
const lastedOf = (ms: number): string => (ms < LEAST_MS ? "under 1 s" : span(ms));

export function Durations({
  endings,
  times,
}: {
  /** The oldest first. */
  readonly endings: readonly Ending[];
  readonly times: Card["times"];
}): JSX.Element {
  const longest = Math.max(...endings.map(({ lastedMs = 0 }) => lastedMs));
  const heightOf = (ms: number): number => SHORE - (ms / Math.max(LEAST_MS, longest)) * (SHORE - MARGIN);
  const step = (WIDTH - 2 * MARGIN) / MOST;
  const from = MOST - endings.length;
  const counts = [...Map.groupBy(endings, ({ state }) => state)].map(
    ([state, all]) => `${all.length} ${wordOf(state).toLowerCase()}`,
  );
  const now = Date.now();
  return (
    <figure class="durations">
      <figcaption><span>{counts.join(", ")}</span><span>the longest {lastedOf(longest)}</span></figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`How long the newest ${endings.length} runs took: ${counts.join(", ")}; the longest ${lastedOf(longest)}. The table below has each.`}>
        {times !== undefined && <path class="half" d={`M0 ${heightOf(times.halfMs)}h${WIDTH}`} />}
        {endings.map(({ state, lastedMs = 0 }, at) => (
          <g key={at} class={state} transform={`translate(${MARGIN + (from + at + 0.5) * step} ${heightOf(lastedMs)})`}>
            <path class="stem" d={`M0 0V${SHORE - heightOf(lastedMs)}`} />
            {shapeOf(state)}
          </g>
        ))}
        <path class="shore" d={`M0 ${SHORE}h${WIDTH}`} />
      </svg>
      {times !== undefined && <p><small>Half of those that succeeded took {roughly(times.halfMs)} or less (the dashed line), and 95 of 100 {roughly(times.mostMs)} or less.</small></p>}
      <details>
        <summary>As a table</summary>
        <table class="figures">
          <thead><tr><th>State</th><th class="number">Time</th><th class="number">Ended</th></tr></thead>
          <tbody>
            {endings.toReversed().map(({ id, state, lastedMs, endedAtMs }, at) => (
              <tr key={at}>
                <td class={`state ${state}`}><Icon of={state} /> {id === undefined ? wordOf(state) : <a href={runUrl(id)}>{wordOf(state)}</a>}</td>
                <td class="number">{lastedMs === undefined ? "nothing ran" : lastedOf(lastedMs)}</td>
                <td class="number">{when(endedAtMs, now)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </figure>
  ); // biome-ignore format: as it stands on the page
}

function shapeOf(state: State): JSX.Element {
  if (state === "succeeded") return <circle r="2.4" class="fill" />;
  if (state === "failed") return <path d="M-2.6-2.6l5.2 5.2m0-5.2l-5.2 5.2" class="line" />;
  if (state === "stopped") return <rect x="-2.2" y="-2.2" width="4.4" height="4.4" class="hollow" />;
  return <path d="M0-3.2L3.2 0 0 3.2-3.2 0z" class="hollow" />;
}
