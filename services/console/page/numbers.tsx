/**
 * How runs ended by the hour: those that finished stand on the line, those that failed hang below it, by who must act. From there one
 * goes on to the codes, and from a code to its runs.
 */
import type { JSX } from "preact";
import type { Numbers as Answer } from "../answers-for-operators.ts";
import type { BlameName, Hour } from "../views/numbers.ts";
import { LiveMark, Shown } from "./frame.tsx";
import { go, here } from "./go.ts";
import { useAnswer } from "./use.ts";
import { when } from "./words.ts";

/** Each has a pattern of its own beside its colour. */
const KINDS = {
  succeeded: "Succeeded",
  stopped: "Stopped",
  request: "Failed: the request",
  cluster: "Failed: the cluster",
  platform: "Failed: the platform",
} as const;
type Kind = keyof typeof KINDS;
const ALL = Object.keys(KINDS) as readonly Kind[];
const UP: readonly Kind[] = ["succeeded", "stopped"];
const DOWN: readonly BlameName[] = ["request", "cluster", "platform"];
const WHO: Readonly<Record<BlameName, string>> = {
  request: "whoever wrote the request",
  cluster: "the cluster's people",
  platform: "whoever runs Longshore",
};
const isBlame = (it: string | null): it is BlameName => DOWN.some((blame) => blame === it);

/** A pattern that the picture defines; the others have the colour of their class. */
const fillOf = (kind: Kind): string | undefined => (kind === "cluster" || kind === "platform" ? `url(#of-${kind})` : undefined);

const PERIODS = { "24": "24 hours", "72": "3 days", "168": "7 days" } as const;

const WIDTH = 960;
const HEIGHT = 240;
/** Few of many would be thinner than a line. */
const THINNEST = 3;

export function Numbers(): JSX.Element {
  const query = here.value.searchParams;
  const hours = Object.keys(PERIODS).find((it) => it === query.get("hours")) ?? "24";
  const asked = useAnswer<Answer>("/v1/numbers", { hours });
  const given = query.get("blame");
  const blame = isBlame(given) ? given : undefined;
  return (
    <Shown asked={asked}>
      {(answer) => (
        <>
          <div class="head">
            <h1>Numbers</h1>
            <div class="filters" role="group" aria-label="Since">
              {Object.entries(PERIODS).map(([key, word]) => (
                <a key={key} href={urlOf(key, blame)} aria-current={key === hours ? "true" : undefined}>{word}</a>
              ))}
            </div>
            <LiveMark staleSinceMs={asked.staleSinceMs} />
          </div>
          <Picture hours={answer.hours} period={hours} blame={blame} />
          <Codes codes={answer.codes.filter((it) => blame === undefined || it.blame === blame)} blame={blame} period={hours} />
        </>
      )}
    </Shown>
  ); // biome-ignore format: as it stands on the page
}

const urlOf = (hours: string, blame: BlameName | undefined): string =>
  `/numbers?${new URLSearchParams({ hours, ...(blame && { blame }) }).toString()}`;

const sum = (hours: readonly Hour[], kind: Kind): number => hours.reduce((total, it) => total + it[kind], 0);

function Picture({
  hours,
  period,
  blame,
}: {
  readonly hours: readonly Hour[];
  readonly period: string;
  readonly blame: BlameName | undefined;
}): JSX.Element {
  const most = (kinds: readonly Kind[]): number =>
    Math.max(0, ...hours.map((it) => kinds.reduce((total, kind) => total + it[kind], 0)));
  const [up, down] = [most(UP), most(DOWN)];
  const all = Math.max(1, up + down);
  const shore = (up / all) * HEIGHT;
  const told = ALL.map((kind) => `${sum(hours, kind)} ${KINDS[kind].toLowerCase()}`).join(", ");
  return (
    <figure class="numbers panel">
      <ul class="legend">
        {ALL.map((kind) => (
          <li key={kind}>
            <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><rect x="1" y="1" width="14" height="14" class={kind} fill={fillOf(kind)} /></svg>
            {isBlame(kind) ? <a href={urlOf(period, blame === kind ? undefined : kind)} aria-current={blame === kind ? "true" : undefined}>{KINDS[kind]}</a> : KINDS[kind]}
            <b>{sum(hours, kind)}</b>
          </li>
        ))}
      </ul>
      <p><small>{up + down === 0 ? "No run ended in this time." : `Most in an hour: ${up} succeeded or stopped, ${down} failed.`}</small></p>
      <svg class="hours" viewBox={`0 -2 ${WIDTH} ${HEIGHT + 4}`} preserveAspectRatio="none" role="img" aria-label={`How runs ended, by the hour: ${told}. The table below has each hour.`}>
        <defs>
          <pattern id="of-cluster" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="3" height="6" /></pattern>
          <pattern id="of-platform" width="5" height="5" patternUnits="userSpaceOnUse"><rect width="5" height="2" /><rect width="2" height="5" /></pattern>
        </defs>
        {hours.flatMap((hour, at) => [...bars(hour, UP, { at, of: hours.length, shore, all, sign: -1 }), ...bars(hour, DOWN, { at, of: hours.length, shore, all, sign: 1 })]).map(({ kind, ...place }) => (
          <rect key={`${kind} ${place.x}`} class={blame === undefined || blame === kind ? kind : `${kind} aside`} fill={fillOf(kind)} {...place} onClick={isBlame(kind) ? () => go(urlOf(period, kind)) : undefined} />
        ))}
        <path class="shore" d={`M0 ${shore}h${WIDTH}`} />
      </svg>
      <p class="ends"><small>{when(hours[0]?.atMs ?? 0, Date.now())}</small><small>now</small></p>
      <details>
        <summary>As a table</summary>
        <table class="figures">
          <thead><tr><th>Hour</th>{ALL.map((kind) => <th key={kind} class="number">{KINDS[kind]}</th>)}</tr></thead>
          <tbody>
            {hours.filter((it) => ALL.some((kind) => it[kind] > 0)).toReversed().map((it) => (
              <tr key={it.atMs}><td>{when(it.atMs, Date.now())}</td>{ALL.map((kind) => <td key={kind} class="number">{it[kind]}</td>)}</tr>
            ))}
          </tbody>
        </table>
      </details>
    </figure>
  ); // biome-ignore format: as it stands on the page
}

interface Scale {
  readonly at: number;
  readonly of: number;
  readonly shore: number;
  readonly all: number;
  /** -1: upwards from the shore. */
  readonly sign: -1 | 1;
}

/** The bars of one hour on one side of the shore, one behind the other. */
function bars(hour: Hour, kinds: readonly Kind[], { at, of, shore, all, sign }: Scale) {
  const step = WIDTH / of;
  const gap = step * 0.2;
  let from = shore + sign;
  return kinds.flatMap((kind) => {
    if (hour[kind] === 0) return [];
    const height = Math.max(THINNEST, (hour[kind] / all) * HEIGHT - 1);
    const y = sign < 0 ? from - height : from;
    from += sign * (height + 1);
    return [{ kind, x: at * step + gap / 2, y, width: step - gap, height }];
  });
}

const Codes = ({
  codes,
  blame,
  period,
}: {
  readonly codes: Answer["codes"];
  readonly blame: BlameName | undefined;
  readonly period: string;
}): JSX.Element => (
  <section class="codes">
    <h2>{blame === undefined ? "Why they failed" : KINDS[blame]}</h2>
    {blame !== undefined && <p class="lead"><a href={urlOf(period, undefined)}>All that failed</a></p>}
    {codes.length === 0 ? <p>None failed like that in this time.</p> : (
      <table class="figures">
        <thead><tr><th>Code</th><th>Who must act</th><th class="number">Runs</th></tr></thead>
        <tbody>
          {codes.map((it) => (
            <tr key={`${it.blame} ${it.code}`}>
              <td><a href={`/runs?${new URLSearchParams({ code: it.code }).toString()}`}>{it.code}</a></td>
              <td>{WHO[it.blame]}</td>
              <td class="number">{it.n}</td>
            </tr>
          ))}
        </tbody>
      </table>
    )}
  </section>
); // biome-ignore format: as it stands on the page
