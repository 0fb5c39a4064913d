/** One run: a line of stages, what became of it, and what one can do. */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { RunView, Stage } from "../answers.ts";
import { isOver } from "../views/state.ts";
import { post, type Problem, Refusal } from "./api.ts";
import { Back, LiveMark, Shown } from "./frame.tsx";
import { RunForDevelopers } from "./developers.tsx";
import { here } from "./go.ts";
import { Log } from "./log.tsx";
import { Icon, StateLine, wordOf } from "./marks.tsx";
import { labelOf } from "./fields.tsx";
import { ForOperators } from "./for-operators.tsx";
import { Contact } from "./start.tsx";
import { Told } from "./told.tsx";
import { useAnswer, useNow } from "./use.ts";
import { exactly, second, span, when } from "./words.ts";

export function Run(): JSX.Element {
  const id = here.value.searchParams.get("id") ?? "";
  const asked = useAnswer<RunView>("/v1/run", { id }, id);
  return <Shown asked={asked}>{(run) => <Whole run={run} staleSinceMs={asked.staleSinceMs} />}</Shown>;
}

function Whole({ run, staleSinceMs }: { readonly run: RunView; readonly staleSinceMs: number | undefined }): JSX.Element {
  const over = isOver(run.state);
  const now = useNow(!over);
  useEffect(() => {
    document.title = `${wordOf(run.state)}: ${run.title} – Longshore`;
  }, [run.state]);
  return (
    <>
      <Back to="/runs">Runs</Back>
      <div class="head of-run">
        <h1>{run.title}</h1>
        <span role="status"><StateLine state={run.state} /></span>
        {!over && <LiveMark staleSinceMs={staleSinceMs} />}
        {!over && run.may.stop && <Stop run={run} />}
        {(run.state === "succeeded" || run.state === "stopped") && <Again run={run} />}
      </div>
      <p class="lead">
        Asked{run.by && ` by ${run.by.name}`} {when(run.askedAtMs, now)}. <code>{run.id}</code>
      </p>
      {(run.state === "failed" || run.state === "lost" || run.state === "stalled") && <Failure run={run} />}
      <Stages run={run} nowMs={now} />
      {!over && <Going run={run} />}
      <div class={hasSide(run) ? "with-side" : undefined}>
        {hasSide(run) && (
          <aside aria-label="What belongs to the run">
            <Asked parameters={run.parameters} />
            {run.outputs !== undefined && <Values title="Result" of={run.outputs} />}
            {run.steps.length > 0 && <Steps run={run} />}
          </aside>
        )}
        <div>
          <Log run={run} />
          <section class="panel">
            <h2>Story</h2>
            <ol class="story">
              {run.story.map(({ sequence, atMs, type, says }) => (
                <li key={sequence} value={sequence}>
                  <time>{second(atMs)}</time> <b>{type.replaceAll(".", " ")}</b> {says}
                </li>
              ))}
            </ol>
          </section>
          <RunForDevelopers run={run} />
        </div>
      </div>
      {run.operators !== undefined && <ForOperators of={run.operators} nowMs={now} />}
    </>
  ); // biome-ignore format: as it stands on the page
}

const hasSide = ({ parameters, outputs, steps }: RunView): boolean =>
  Object.keys(parameters).length > 0 || outputs !== undefined || steps.length > 0;

/** Each stage stands on the line; the one that lasts has an open end. */
function Stages({ run, nowMs }: { readonly run: RunView; readonly nowMs: number }): JSX.Element {
  const over = isOver(run.state);
  const toCome = over ? [] : ["Asked", "Waiting", "Starting", "Running"].slice(run.stages.length);
  return (
    <ol class="stages panel" aria-label="Stages">
      {run.stages.map((it, at) => <StageOf key={it.name} stage={it} isNow={!over && at === run.stages.length - 1} nowMs={nowMs} />)}
      {toCome.map((name) => <li key={name} class="ahead"><Icon of="to come" /><b>{name}</b></li>)}
      {over ? (
        <li class={`end ${run.state}`}><Icon of={run.state} /><b>{wordOf(run.state)}</b><span>{run.endedAtMs !== undefined && second(run.endedAtMs)}</span></li>
      ) : (
        <li class="ahead"><Icon of="to come" /><b>Done</b></li>
      )}
    </ol>
  ); // biome-ignore format: as it stands on the page
}

const StageOf = ({
  stage: { name, atMs, ms, note },
  isNow,
  nowMs,
}: {
  readonly stage: Stage;
  readonly isNow: boolean;
  readonly nowMs: number;
}): JSX.Element => (
  <li class={isNow ? "now" : undefined} aria-current={isNow ? "step" : undefined}>
    <Icon of={isNow ? (name === "Running" ? "running" : name === "Starting" ? "starting" : "waiting") : "passed"} />
    <b>{name}</b>
    <span>{name === "Asked" ? second(atMs) : [span(ms ?? nowMs - atMs), note].filter(Boolean).join(", ")}</span>
  </li>
);

function Going({ run: { why, state } }: { readonly run: RunView }): JSX.Element {
  return (
    <div class="going">
      <Icon of="about" />
      <p>
        {why !== undefined && state !== "stalled" && <><b>{why.sentence}</b> </>}
        <b>You may close this page.</b> The run goes on without it, and stands here and under <a href="/runs">Runs</a>.
      </p>
    </div>
  ); // biome-ignore format: as it stands on the page
}

/** The button stays where it is until the run is over, so that a person who has just pressed it is not moved elsewhere. */
function Stop({ run }: { readonly run: RunView }): JSX.Element {
  const { act, problem, isSent } = useDeed("/v1/cancel", { run: run.id, generation: run.generation });
  const button = useRef<HTMLButtonElement>(null);
  const isAsked = run.state === "stopping" || isSent;
  useLayoutEffect(
    () => () => {
      if (document.activeElement === button.current) document.getElementById("content")?.focus();
    },
    [],
  );
  return (
    <>
      <button type="button" class="stop" ref={button} aria-disabled={isAsked} onClick={isAsked ? undefined : act}>
        <Icon of={isAsked ? "stopping" : "stopped"} /> {isAsked ? "Stopping" : "Stop"}
      </button>
      {problem !== undefined && <p class="problem" role="alert">{problem.detail}</p>}
    </>
  ); // biome-ignore format: as it stands on the page
}

/** Opens the form with the same values: another run, under another id. */
function Again({ run }: { readonly run: RunView }): JSX.Element {
  if (run.definition === undefined || !run.may.run) return <></>;
  const query = new URLSearchParams({ definition: run.definition });
  for (const [name, value] of Object.entries(run.parameters))
    query.set(name, typeof value === "string" ? value : JSON.stringify(value));
  return (
    <a class="button" href={`/start?${query.toString()}`}>
      <Icon of="again" /> Run again
    </a>
  );
}

function Failure({ run }: { readonly run: RunView }): JSX.Element {
  const [isCopied, setCopied] = useState<boolean>();
  const box = useRef<HTMLTextAreaElement>(null);
  const ticket = ticketOf(run);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(ticket);
      setCopied(true);
    } catch {
      setCopied(false);
      box.current?.select();
    }
  };
  return (
    <section class={`failure panel ${run.state}`}>
      <div>
        <h2><Icon of={run.state} /> {run.why?.sentence ?? "Nobody saw how it ended."}</h2>
        {run.why?.hint !== undefined && <p><Told>{run.why.hint}</Told></p>}
        <dl>
          {run.owner !== undefined && <div><dt>Who can fix it</dt><dd><Contact owner={run.owner} /></dd></div>}
          {run.steps.some(({ state }) => state === "done") && <div><dt>Done</dt><dd>{namesOf(run, (state) => state === "done")}</dd></div>}
          {run.steps.some(({ state }) => state !== "done") && <div><dt>Not done</dt><dd>{namesOf(run, (state) => state !== "done")}</dd></div>}
        </dl>
        <div class="acts">
          <button type="button" class="primary" onClick={() => void copy()}><Icon of={isCopied === true ? "check" : "copy"} /> {isCopied === true ? "Copied" : "Copy for the ticket"}</button>
          <Again run={run} />
        </div>
      </div>
      <div class="ticket">
        <h3>What is copied</h3>
        <textarea ref={box} readOnly aria-label="What is copied" rows={8} value={ticket} />
      </div>
    </section>
  ); // biome-ignore format: as it stands on the page
}

const namesOf = ({ steps }: RunView, wanted: (state: RunView["steps"][number]["state"]) => boolean): string =>
  steps.filter(({ state }) => wanted(state)).map(({ name }) => name).join(", "); // biome-ignore format: one line

const TICKET_LINES = 20;

/** Everything that somebody else needs to act, in words. */
function ticketOf(run: RunView): string {
  const { title, state, by, why, owner, log, endedAtMs, askedAtMs } = run;
  const lines = log?.tail.trimEnd().split("\n").slice(-TICKET_LINES) ?? [];
  return [
    `${title}: ${wordOf(state).toLowerCase()}, ${exactly(endedAtMs ?? askedAtMs)}.${by ? ` Asked by ${by.name}.` : ""}`,
    ...(why === undefined
      ? []
      : [`${why.code}: ${why.sentence}`, ...[why.ticketHint ?? why.hint].filter((it) => it !== undefined)]),
    ...(owner === undefined ? [] : [`To act: ${[owner.name, owner.contact].filter(Boolean).join(", ")}`]),
    location.href,
    ...(lines.length === 0 ? [] : ["", ...lines]),
  ].join("\n");
}

const STEP_MARK = { "to come": "to come", running: "running", done: "succeeded", failed: "failed", skipped: "skipped" } as const;

const Steps = ({ run }: { readonly run: RunView }): JSX.Element => (
  <section>
    <h2>Steps</h2>
    <ul class="steps">
      {run.steps.map(({ name, state }) => <li key={name} class={STEP_MARK[state]}><Icon of={STEP_MARK[state]} /> <b>{name}</b> <span>{state}</span></li>)}
    </ul>
  </section>
); // biome-ignore format: as it stands on the page

const Asked = ({ parameters }: Pick<RunView, "parameters">): JSX.Element =>
  Object.keys(parameters).length === 0 ? <></> : <Values title="What was asked" of={Object.fromEntries(Object.entries(parameters).map(([name, value]) => [labelOf(name, {}), value]))} />; // biome-ignore format: one value

const Values = ({ title, of }: { readonly title: string; readonly of: Readonly<Record<string, unknown>> }): JSX.Element => (
  <section>
    <h2>{title}</h2>
    <dl>
      {Object.entries(of).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{textOf(value)}</dd></div>)}
    </dl>
  </section>
); // biome-ignore format: as it stands on the page

const textOf = (value: unknown): string =>
  typeof value === "boolean" ? (value ? "yes" : "no") : typeof value === "string" ? value : JSON.stringify(value);

/** A deed on the run: once sent, the page waits for the run itself to say so. */
function useDeed(
  path: string,
  body: object,
): { readonly act: () => void; readonly problem: Problem | undefined; readonly isSent: boolean } {
  const [isSent, setSent] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const act = (): void => {
    if (isSent) return;
    setSent(true);
    post(path, body).catch((error: unknown) => {
      setSent(false);
      if (error instanceof Refusal) setProblem(error.problem);
    });
  };
  return { act, problem, isSent };
}
