/**
 * Deeds on all runs that match: a dialog says how many they are before anything is done, and how far it is.
 *
 * The failure this prevents: a person who stops a thousand runs because a filter was not the one they thought.
 */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Counted, Progress } from "../answers.ts";
import { post, postLines, type Problem, Refusal } from "./api.ts";

const DEEDS = {
  cancel: {
    word: "Stop all that match",
    act: (runs: string) => `Stop ${runs}`,
    done: (runs: string) => `Asked ${runs} to stop.`,
  },
  restart: {
    word: "Start all failed again",
    act: (runs: string) => `Start ${runs} again`,
    done: (runs: string) => `Asked for ${runs} to start again.`,
  },
} as const;
type Deed = keyof typeof DEEDS;

const runsOf = (count: number): string => `${count} ${count === 1 ? "run" : "runs"}`;

interface Filter {
  readonly query: Readonly<Record<string, string>>;
}

export function Bulk({ query }: Filter): JSX.Element {
  const [deed, setDeed] = useState<Deed>();
  const outcome = query["outcome"] ?? "";
  const offered = (["cancel", "restart"] as const).filter((it) =>
    it === "cancel" ? ["", "active"].includes(outcome) : ["", "failed", "lost", "cancelled"].includes(outcome),
  );
  return (
    <div class="acts of-many">
      {offered.map((it) => <button key={it} type="button" class="small" onClick={() => setDeed(it)}>{DEEDS[it].word}</button>)}
      {deed !== undefined && <Asking deed={deed} query={query} close={() => setDeed(undefined)} />}
    </div>
  ); // biome-ignore format: as it stands on the page
}

/** Only the parts of the address that say which runs, not which page of them. */
function filterOf({ find, definition, code, group, outcome, mine }: Readonly<Record<string, string>>): object {
  const given = Object.entries({ find, definition, code, group, outcome }).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(given), mine: mine === "true" };
}

function Asking({ deed, query, close }: Filter & { readonly deed: Deed; readonly close: () => void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const [counted, setCounted] = useState<Counted>();
  const [progress, setProgress] = useState<Progress>();
  const [problem, setProblem] = useState<Problem>();
  const asked = { deed, filter: filterOf(query) };
  const failed = (error: unknown): void => {
    if (!(error instanceof Refusal)) throw error;
    setProblem(error.problem);
  };
  useEffect(() => {
    dialog.current?.showModal();
    post<Counted>("/v1/bulk", asked).then(setCounted, failed);
  }, []);
  const { word, act, done } = DEEDS[deed];
  const isUnderWay = progress !== undefined && progress.finished !== true && progress.problem === undefined;
  const start = (): void => {
    if (counted === undefined || isUnderWay) return;
    const { bulk, upTo, count } = counted;
    setProblem(undefined);
    setProgress({ done: 0, of: count });
    postLines<Progress>("/v1/bulk", { ...asked, counted: { bulk, upTo } }, setProgress).catch((error: unknown) => {
      setProgress(undefined);
      failed(error);
    });
  };
  return (
    <dialog ref={dialog} aria-labelledby="bulk-title" onClose={close}>
      <h2 id="bulk-title">{word}</h2>
      <div role="status">
        {problem !== undefined && <p class="problem">{problem.detail}</p>}
        {counted === undefined && problem === undefined && <p>Counting</p>}
        {counted?.count === 0 && <p>No run is meant: none that matches is one that you may do this to.</p>}
        {counted !== undefined && counted.count > 0 && progress === undefined && <p>{runsOf(counted.count)} {counted.count === 1 ? "matches" : "match"}. Runs that come later are not meant.</p>}
        {progress !== undefined && <p>{progress.problem ?? (progress.finished === true ? done(runsOf(progress.of)) : `${progress.done ?? 0} of ${progress.of}`)}</p>}
      </div>
      <div class="acts">
        {counted !== undefined && counted.count > 0 && progress?.finished !== true && <button type="button" class={deed === "cancel" ? "stop" : "primary"} aria-disabled={isUnderWay} onClick={start}>{act(runsOf(counted.count))}</button>}
        <button type="button" onClick={() => dialog.current?.close()}>{progress?.finished === true ? "Close" : "Leave it"}</button>
      </div>
    </dialog>
  ); // biome-ignore format: as it stands on the page
}
