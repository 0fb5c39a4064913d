/**
 * What a run's program prints: while it runs, and after its end.
 *
 * The failure this prevents: a log that runs away under the pointer of whoever reads it. It follows its end only while its end is
 * what is seen. A screen reader is not told of its lines: it would speak of nothing else.
 */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { LogTail } from "@longshore/contract/messages/fact.ts";
import type { RunView } from "../answers.ts";
import { isOver } from "../views/state.ts";
import type { Part } from "./ansi.ts";
import { stream } from "./api.ts";
import { type Block, BLOCK_LINES, gapWords, type Lines, NO_LINES, textOf, withGap, withTail, withText } from "./log-lines.ts";
import { Icon } from "./marks.tsx";

const OF_TAIL = { complete: "complete", truncated: "the end of it", unavailable: "not to be had" } as const;

interface Printed {
  readonly lines: Lines;
  /** The step whose program it is. */
  readonly step?: string;
  /** Present once the program has ended. */
  readonly tail?: LogTail;
  /** True while no watcher reads it for us. */
  readonly isUnread?: boolean;
}

const NOTHING: Printed = { lines: NO_LINES };

export function Log({ run }: { readonly run: RunView }): JSX.Element {
  const [step, setStep] = useState("");
  const [wraps, setWraps] = useState(true);
  const printed = useLog(run, step);
  const { lines, tail } = printed;
  const steps = run.steps.filter(({ state }) => state !== "to come" && state !== "skipped");
  const isEmpty = lines.blocks.length === 0;
  const { pane, follows, follow, onScroll } = useFollow(lines, tail === undefined);
  if (!run.may.log || printed === NOTHING) return <></>;
  return (
    <section class="panel log">
      <div>
        <h2>Log</h2>
        <small>{wordsOf(printed)}</small>
        {steps.length > 1 && <StepOf steps={steps} shown={printed.step} chosen={step} choose={setStep} />}
        <span class="tools">
          {tail === undefined && <button type="button" class="button small" aria-pressed={follows} onClick={follow}><Icon of="down" /> Follow</button>}
          <button type="button" class="button small" aria-pressed={wraps} onClick={() => setWraps(!wraps)}><Icon of="wrap" /> Wrap</button>
          <button type="button" class="button small" aria-disabled={isEmpty} onClick={() => isEmpty || save(run.id, printed.step, lines)}><Icon of="download" /> Download</button>
        </span>
      </div>
      {isEmpty ? <p>{emptyWords(printed)}</p> : <pre ref={pane} tabIndex={0} aria-label="Log" class={wraps ? undefined : "as-printed"} onScroll={onScroll}><Coloured lines={lines} /></pre>}
    </section>
  ); // biome-ignore format: as it stands on the page
}

const wordsOf = ({ lines, tail, isUnread }: Printed): string => {
  if (tail === undefined) return isUnread === true ? "not to be had at the moment" : lines.isCut ? "live, the end of it" : "live";
  return OF_TAIL[lines.isCut ? "truncated" : tail.state];
};

const emptyWords = ({ tail, isUnread }: Printed): string => {
  if (tail !== undefined) return tail.state === "unavailable" ? "What it printed was not recorded." : "It printed nothing.";
  return isUnread === true
    ? "What it prints cannot be read at the moment. It is shown here when the program has ended."
    : "It has printed nothing yet.";
};

interface StepProps {
  readonly steps: RunView["steps"];
  readonly shown: string | undefined;
  readonly chosen: string;
  readonly choose: (step: string) => void;
}

const StepOf = ({ steps, shown, chosen, choose }: StepProps): JSX.Element => (
  <select aria-label="Step" value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
    <option value="">{shown === undefined || chosen !== "" ? "Newest step" : `Newest: ${shown}`}</option>
    {steps.map(({ name }) => <option key={name} value={name}>{name}</option>)}
  </select>
); // biome-ignore format: as it stands on the page

/** A run that was over before, and has one step, is shown as its view has it. All others have a stream. */
function useLog(run: RunView, step: string): Printed {
  const over = isOver(run.state);
  const isStreamed = useRef(false);
  isStreamed.current ||= run.may.log && (run.steps.length > 0 || (!over && run.stages.length > 2));
  const [printed, set] = useState(NOTHING);
  const streamed = isStreamed.current;
  const { id, generation } = run;
  useEffect(() => {
    if (!streamed) return undefined;
    const add = (more: (lines: Lines) => Lines): void => set((it) => ({ ...it, isUnread: false, lines: more(it.lines) }));
    const end = stream(
      "/v1/log",
      { run: id, ...(step !== "" && { step }) },
      {
        attempt: (data) => set({ lines: NO_LINES, step: (JSON.parse(data) as { step: string }).step }),
        lines: (data) => add((lines) => withText(lines, (JSON.parse(data) as { text: string }).text)),
        gap: (data) => add((lines) => withGap(lines, (JSON.parse(data) as { bytes?: number }).bytes)),
        nobody: () => set((it) => ({ ...it, isUnread: true })),
        tail: (data) => {
          const tail = JSON.parse(data) as LogTail;
          set((it) => ({ ...it, isUnread: false, tail, lines: withTail(it.lines, tail) }));
        },
        end: () => end(),
      },
    );
    return end;
  }, [streamed, id, generation, step]);
  const { log } = run;
  const kept = useMemo(() => (log === undefined ? NOTHING : { lines: withTail(NO_LINES, log), tail: log }), [log?.tail]);
  return streamed ? printed : kept;
}

/** Near enough to the end to mean it. */
const NEAR_PX = 48;

function useFollow(lines: Lines, isLive: boolean) {
  const pane = useRef<HTMLPreElement>(null);
  const [follows, setFollows] = useState(isLive);
  const topPx = useRef(0);
  const toEnd = (): void => {
    if (pane.current === null) return;
    pane.current.scrollTop = pane.current.scrollHeight;
    topPx.current = pane.current.scrollTop;
  };
  useLayoutEffect(() => {
    if (follows) toEnd();
  }, [lines, follows]);
  const onScroll = (): void => {
    const { scrollTop = 0, scrollHeight = 0, clientHeight = 0 } = pane.current ?? {};
    const isNear = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    // Blocks that are laid out for the first time change the height: only who scrolls up means it.
    if (isNear && isLive) setFollows(true);
    else if (scrollTop < topPx.current) setFollows(false);
    topPx.current = scrollTop;
  };
  return { pane, follows, follow: () => setFollows(!follows), onScroll };
}

type Parse = (text: string) => readonly Part[];

function Coloured({ lines: { blocks } }: { readonly lines: Lines }): JSX.Element {
  const [parse, setParse] = useState<{ readonly parts: Parse }>();
  const isColoured = parse === undefined && blocks.some(({ lines }) => lines.some((it) => typeof it === "string" && it.includes("\u001b"))); // biome-ignore format: one question
  useEffect(() => {
    if (isColoured) import("./ansi.ts").then(setParse, () => undefined); // without it, the text is shown as it was printed
  }, [isColoured]);
  return <>{blocks.map((it) => <BlockOf key={it.key} block={it} parse={parse?.parts} />)}</>; // biome-ignore format: one line
}

/**
 * Drawn again only if it has changed: the same value of Preact's is left as it is. Only whole blocks have a known height, and are
 * laid out when they are seen.
 */
const BlockOf = ({ block, parse }: { readonly block: Block; readonly parse: Parse | undefined }): JSX.Element =>
  useMemo(
    () => <div class={block.lines.length === BLOCK_LINES ? "whole" : undefined}>{textIn(block, parse)}</div>,
    [block, parse],
  );

function textIn({ lines }: Block, parse: Parse | undefined): readonly (JSX.Element | string)[] {
  const drawn: (JSX.Element | string)[] = [];
  let text = "";
  const flush = (): void => {
    if (parse === undefined || !text.includes("\u001b")) drawn.push(text);
    else for (const { text: part, look } of parse(text)) drawn.push(look === "" ? part : <span class={look}>{part}</span>);
    text = "";
  };
  for (const line of lines) {
    if (typeof line === "string") text += `${line}\n`;
    else {
      flush();
      drawn.push(<i>{gapWords(line)}{"\n"}</i>); // biome-ignore format: as it stands on the page
    }
  }
  flush();
  return drawn;
}

function save(run: string, step: string | undefined, lines: Lines): void {
  const name = [run, ...(step === undefined || step === "main" ? [] : [step])].join("-");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([textOf(lines)], { type: "text/plain;charset=utf-8" }));
  link.download = `${name.replaceAll(/[^\w.-]+/g, "-")}.log`;
  link.click();
  URL.revokeObjectURL(link.href);
}
