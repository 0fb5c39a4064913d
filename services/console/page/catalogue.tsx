/** The catalogue: every prepared job as a card. What one may run is filled in; how it went stands under its name. */
import type { JSX } from "preact";
import type { Card, CardForOperators, Cards } from "../answers.ts";
import { isOver, type State } from "../views/state.ts";
import { Empty, LiveMark, Shown } from "./frame.tsx";
import { here, runUrl } from "./go.ts";
import { Icon, StateLine, TenMarks } from "./marks.tsx";
import { Contact } from "./start.tsx";
import { useAnswer, useNow } from "./use.ts";
import { roughly, span, wentOf, when } from "./words.ts";

const FILTERS: Readonly<Record<string, { readonly word: string; readonly takes: (card: Card) => boolean }>> = {
  "": { word: "All", takes: () => true },
  running: { word: "Running", takes: ({ last }) => last !== undefined && !isOver(last.state) },
  failed: { word: "Failed last time", takes: ({ last }) => last?.state === "failed" || last?.state === "lost" },
};

export function Catalogue(): JSX.Element {
  const asked = useAnswer<Cards>("/v1/definitions", {});
  const chosen = here.value.searchParams.get("show") ?? "";
  return (
    <Shown asked={asked}>
      {({ cards, inVain, discovers }) =>
        cards.length === 0 ? <NothingPrepared discovers={discovers} /> : (
          <>
            <div class="head">
              <h1>Catalogue</h1>
              <div class="filters" role="group" aria-label="Show">
                {Object.entries(FILTERS).map(([key, { word, takes }]) => (
                  <a key={key} href={key === "" ? "/" : `/?show=${key}`} aria-current={key === chosen ? "true" : undefined}>
                    {word} <span class="count">{cards.filter(takes).length}</span>
                  </a>
                ))}
              </div>
              <LiveMark staleSinceMs={asked.staleSinceMs} />
            </div>
            {inVain.length > 0 && <NamedInVain names={inVain} />}
            <ul class="cards">
              {cards.filter((FILTERS[chosen] ?? FILTERS[""])?.takes ?? (() => true)).map((it) => <CardOf key={it.name} card={it} />)}
            </ul>
            <Legend />
          </>
        )
      }
    </Shown>
  ); // biome-ignore format: as it stands on the page
}

function CardOf({ card }: { readonly card: Card }): JSX.Element {
  const { title, description, marks, last, rate } = card;
  const goesOn = last !== undefined && !isOver(last.state);
  const now = useNow(goesOn);
  return (
    <li class="card">
      <h2>{title}</h2>
      <p class="about">{description}</p>
      <div class="last">
        {last === undefined ? (
          <span class="state none"><Icon of="to come" /><b>Not run yet</b></span>
        ) : (
          <StateLine state={last.state}>
            {goesOn ? `for ${span(now - (last.startedAtMs ?? last.askedAtMs))}` : when(last.endedAtMs ?? last.askedAtMs, now)}
            <br />
            {[!goesOn && last.startedAtMs !== undefined && last.endedAtMs !== undefined && `${last.state === "succeeded" ? "in" : "after"} ${span(last.endedAtMs - last.startedAtMs)}`, last.by && `by ${last.by.name}`].filter(Boolean).join(", ")}
            {last.state === "failed" && last.id !== undefined && <><br /><a href={runUrl(last.id)}>See why</a></>}
          </StateLine>
        )}
      </div>
      <div class="foot">
        <div>
          <TenMarks marks={marks} />
          <small>{usuallyOf(card)}</small>
          {rate !== undefined && <small>{wentOf(last?.state === "succeeded" ? { rate } : card, now)}</small>}
        </div>
        <Act card={card} goesOn={goesOn} />
      </div>
      {card.operators && <CardDetails of={card.operators} now={now} />}
    </li>
  ); // biome-ignore format: as it stands on the page
}

const CardDetails = ({ of: { origin, digest, sinceMs, whyNot }, now }: { readonly of: CardForOperators; readonly now: number }): JSX.Element => (
  <div class="for-operators">
    {whyNot !== undefined && <p class="why-not"><Icon of="stalled" /> <span>{whyNot}</span></p>}
    <small>From {origin}, unchanged since {when(sinceMs, now)} <code>{digest}</code></small>
  </div>
); // biome-ignore format: as it stands on the page

function usuallyOf({ times, usualMs }: Card): string {
  if (times !== undefined) return `usually ${roughly(times.halfMs)}, 95 of 100 within ${roughly(times.mostMs)}`;
  return usualMs === undefined ? "no usual time yet" : `usually ${roughly(usualMs)}`;
}

/** While it runs, one looks at it; else one runs it, or hears whom to ask. */
function Act({ card: { name, title, owner, last, mayRun, isUnusable }, goesOn }: { readonly card: Card; readonly goesOn: boolean }): JSX.Element {
  if (goesOn && last?.id !== undefined) return <a class="button" href={runUrl(last.id)} aria-label={`View ${title}`}>View</a>;
  if (isUnusable) return <small>Cannot be run now{owner !== undefined && <>. Ask <Contact owner={owner} /></>}</small>;
  if (mayRun) return <a class="button act" href={`/start?definition=${encodeURIComponent(name)}`} aria-label={`Run ${title}`}>Run</a>;
  return <small>{owner === undefined ? "Not yours to run" : <>Ask <Contact owner={owner} /></>}</small>;
} // biome-ignore format: as it stands on the page

function Legend(): JSX.Element {
  const shown: readonly State[] = ["succeeded", "failed", "stopped", "running"];
  return (
    <p class="legend">
      The last ten runs, newest on the right:
      {shown.map((it) => (
        <span key={it}>
          <TenMark state={it} /> {it}
        </span>
      ))}
    </p>
  );
}

const TenMark = ({ state }: { readonly state: State }): JSX.Element => (
  <span class="one-mark">
    <TenMarks marks={[state]} />
  </span>
);

const NamedInVain = ({ names }: { readonly names: readonly string[] }): JSX.Element => (
  <p class="warning">
    <Icon of="stalled" /> The access rules name {names.map((it, at) => [at > 0 && ", ", <code key={it}>{it}</code>])}, and no prepared job is called so: whoever was meant cannot run it. One of the two is misspelt, or the job is still to come.
  </p>
); // biome-ignore format: one sentence

const NothingPrepared = ({ discovers }: Pick<Cards, "discovers">): JSX.Element => (
  <Empty mark="to come" title="No job is prepared yet">
    {discovers.length > 0 && (
      <>
        <p>A Job or CronJob that is there already is prepared by an annotation, also one that is suspended or has ended:</p>
        <pre>
          {discovers.map(({ namespace, annotation }) => `kubectl -n ${namespace} annotate job NAME ${annotation}`).join("\n")}
        </pre>
        <p>
          Looked for in {discovers.map(({ group, namespace }) => `${namespace} (${group})`).join(", ")}. It stays as it is: each
          run is a new Job from its template.
        </p>
      </>
    )}
    <p>A job is prepared by a file in the launcher's folder of definitions. This is a whole one:</p>
    <pre>{`# config/definitions/greet.yaml
name: greet
title: Say hello
parameters:
  type: object
  properties:
    name: { type: string, default: world }
image: busybox
command: [sh, -c, 'echo "Hello, $NAME!"']
env: { NAME: "\${{ parameters.name }}" }`}</pre>
    <p>Its card appears here by itself.</p>
  </Empty>
);
