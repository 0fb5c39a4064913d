/** One run: a line of stages, what became of it, and what one can do. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { RunView, Stage } from "../views/run.ts";
import { isOver } from "../views/state.ts";
import { post, type Problem, Refusal } from "./api.ts";
import { Back, LiveMark, Shown } from "./frame.tsx";
import { here } from "./go.ts";
import { Icon, StateLine, wordOf } from "./marks.tsx";
import { Contact } from "./start.tsx";
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
    document.title = `${wordOf(run.state)}: ${run.definition ?? run.id} – Longshore`;
  }, [run.state]);
  return (
    <>
      <Back to="/runs">Runs</Back>
      <div class="head">
        <h1>{run.definition ?? run.id}</h1>
        <span role="status"><StateLine state={run.state} /></span>
        {!over && <LiveMark staleSinceMs={staleSinceMs} />}
      </div>
      <p class="lead">
        {Object.entries(run.parameters).map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ")}
        {Object.keys(run.parameters).length > 0 && ". "}
        Asked{run.by && ` by ${run.by.name}`} {when(run.askedAtMs, now)}. <code>{run.id}</code>
      </p>
      {(run.state === "failed" || run.state === "lost" || run.state === "stalled") && <Failure run={run} />}
      <Stages run={run} nowMs={now} />
      {!over && <Going run={run} />}
      {run.steps.length > 0 && <Steps run={run} />}
      {run.outputs !== undefined && <Outputs outputs={run.outputs} />}
      <div class="halves">
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
        {run.log !== undefined && <Log run={run} />}
      </div>
      {over && <AgainOnly run={run} />}
    </>
  ); // biome-ignore format: as it stands on the page
}

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

function Going({ run }: { readonly run: RunView }): JSX.Element {
  const { act, problem, isSent } = useDeed("/v1/cancel", { run: run.id, generation: run.generation });
  return (
    <div class="going panel">
      <p>You may close this page: the run goes on, and this address shows it again.</p>
      {run.why !== undefined && (
        <p>
          <b>{run.why.sentence}</b>
        </p>
      )}
      {run.state === "stopping" || isSent ? (
        <p role="status">
          <StateLine state="stopping">until its program has ended</StateLine>
        </p>
      ) : (
        <button type="button" class="stop" onClick={act}>
          Stop
        </button>
      )}
      {problem !== undefined && (
        <p class="problem" role="alert">
          {problem.detail}
        </p>
      )}
    </div>
  );
}

function AgainOnly({ run }: { readonly run: RunView }): JSX.Element {
  return run.state === "succeeded" || run.state === "stopped" ? (
    <p class="acts">
      <Again run={run} />
    </p>
  ) : (
    <></>
  );
}

/** Opens the form with the same values: another run, under another id. */
function Again({ run }: { readonly run: RunView }): JSX.Element {
  if (run.definition === undefined) return <></>;
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
        {run.why?.hint !== undefined && <p>{run.why.hint}</p>}
        <dl>
          {run.owner !== undefined && <><dt>Who can fix it</dt><dd><Contact owner={run.owner} /></dd></>}
          {run.steps.some(({ state }) => state === "done") && <><dt>Done</dt><dd>{namesOf(run, "done")}</dd></>}
          {run.steps.some(({ state }) => state !== "done") && <><dt>Not done</dt><dd>{run.steps.filter(({ state }) => state !== "done").map(({ name }) => name).join(", ")}</dd></>}
        </dl>
        <div class="acts">
          <button type="button" class="primary" onClick={() => void copy()}><Icon of={isCopied === true ? "check" : "copy"} /> {isCopied === true ? "Copied" : "Copy for the ticket"}</button>
          <Again run={run} />
        </div>
      </div>
      <div class="ticket">
        <h3>What is copied</h3>
        <textarea ref={box} readOnly aria-label="What is copied" rows={9} value={ticket} />
      </div>
    </section>
  ); // biome-ignore format: as it stands on the page
}

const namesOf = ({ steps }: RunView, wanted: RunView["steps"][number]["state"]): string =>
  steps.filter(({ state }) => state === wanted).map(({ name }) => name).join(", "); // biome-ignore format: one line

const TICKET_LINES = 20;

/** Everything that somebody else needs to act, in words. */
function ticketOf(run: RunView): string {
  const { definition, id, state, by, why, owner, log, endedAtMs, askedAtMs } = run;
  const lines = log?.tail.trimEnd().split("\n").slice(-TICKET_LINES) ?? [];
  return [
    `${definition ?? id}: ${wordOf(state).toLowerCase()}, ${exactly(endedAtMs ?? askedAtMs)}.${by ? ` Asked by ${by.name}.` : ""}`,
    ...(why === undefined ? [] : [`${why.code}: ${why.sentence}`, why.hint]),
    ...(owner === undefined ? [] : [`To act: ${[owner.name, owner.contact].filter(Boolean).join(", ")}`]),
    location.href,
    ...(lines.length === 0 ? [] : ["", ...lines]),
  ].join("\n");
}

const STEP_MARK = { "to come": "to come", running: "running", done: "succeeded", failed: "failed", skipped: "none" } as const;

const Steps = ({ run }: { readonly run: RunView }): JSX.Element => (
  <section class="panel">
    <h2>Steps</h2>
    <ul class="steps">
      {run.steps.map(({ name, state }) => <li key={name} class={STEP_MARK[state]}><Icon of={STEP_MARK[state]} /> <b>{name}</b> <span>{state}</span></li>)}
    </ul>
  </section>
); // biome-ignore format: as it stands on the page

const Outputs = ({ outputs }: { readonly outputs: NonNullable<RunView["outputs"]> }): JSX.Element => (
  <section class="panel">
    <h2>Result</h2>
    <dl class="outputs">
      {Object.entries(outputs).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{typeof value === "string" ? value : JSON.stringify(value)}</dd></div>)}
    </dl>
  </section>
); // biome-ignore format: as it stands on the page

const OF_LOG = { complete: "complete", truncated: "the end of it", unavailable: "not to be had" } as const;

function Log({ run: { log, id } }: { readonly run: RunView }): JSX.Element {
  if (log === undefined) return <></>;
  const file = `data:text/plain;charset=utf-8,${encodeURIComponent(log.tail)}`;
  return (
    <section class="panel log">
      <h2>Log <small>{OF_LOG[log.state]}</small></h2>
      <a class="button small" href={file} download={`${id.replaceAll(/[^\w.-]+/g, "-")}.log`}>Download</a>
      <pre tabIndex={0} aria-label="Log">{log.tail}</pre>
    </section>
  ); // biome-ignore format: as it stands on the page
}

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
