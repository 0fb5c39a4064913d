/** The frame of each page: the header, the search, and the words for a page that has nothing to show. */
import type { ComponentChildren, JSX } from "preact";
import type { Me, RunRows } from "../answers.ts";
import { ask, post, type Problem } from "./api.ts";
import { Hatch } from "./bars.tsx";
import { go, here, runUrl } from "./go.ts";
import { Icon, type Mark } from "./marks.tsx";
import { Told } from "./told.tsx";
import type { Asked } from "./use.ts";
import { when } from "./words.ts";

/** The L is drawn as the line on which everything stands. */
export const Wordmark = (): JSX.Element => (
  <a class="wordmark" href="/">
    <i>L</i>ongshore
  </a>
);

export function Frame({ me, children }: { readonly me: Me; readonly children: ComponentChildren }): JSX.Element {
  const at = here.value.pathname;
  const tab = (href: string, word: string): JSX.Element => (
    <a href={href} aria-current={at === href ? "page" : undefined}>
      {word}
    </a>
  );
  return (
    <>
      <a class="skip" href="#content">To the content</a>
      <header>
        <Wordmark />
        <span class="installation">{me.installation}</span>
        <nav aria-label="Pages">
          {tab("/", "Catalogue")}
          {tab("/runs", "Runs")}
          {me.may.includes("operate") && tab("/groups", "Groups")}
          {me.may.includes("operate") && tab("/health", "Health")}
          {me.may.includes("operate") && tab("/numbers", "Numbers")}
          {me.seesRefused && tab("/refused", "Refused")}
          {me.may.includes("administer") && tab("/audit", "Who did what")}
        </nav>
        <Search />
        <div class="me">
          <span title={me.name}>{me.name}</span>
          {me.hasSession && <button class="leave" onClick={() => void leave()}>Sign out</button>}
        </div>
      </header>
      <Hatch />
      <main id="content" tabIndex={-1}>{children}</main>
    </>
  ); // biome-ignore format: as it stands on the page
}

/** Whoever asks for it next is told to sign in: nothing of this person stays on the screen. */
async function leave(): Promise<void> {
  await post("/v1/leave", {}).catch(() => undefined);
  location.assign("/");
}

/** Takes what a person has at hand: an id or its beginning, the name of a Job, a label or a parameter. */
function Search(): JSX.Element {
  const find = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form).get("find");
    const text = typeof given === "string" ? given.trim() : "";
    if (text === "") return;
    const { rows } = await ask<Pick<RunRows, "rows">>("/v1/runs", { find: text }).catch(() => ({
      rows: [],
    }));
    const [only, ...more] = rows;
    go(only !== undefined && more.length === 0 ? runUrl(only.id) : `/runs?${new URLSearchParams({ find: text }).toString()}`);
  };
  return (
    <form class="search" role="search" onSubmit={(event) => void find(event)}>
      <Icon of="search" />
      <input
        name="find"
        aria-label="Find runs by id, Job or label"
        placeholder="Run, Job, or month=2026-10"
        autocomplete="off"
        spellcheck={false}
      />
    </form>
  );
}

export const Back = ({ to, children }: { readonly to: string; readonly children: string }): JSX.Element => (
  <a class="back" href={to}>
    <Icon of="back" /> {children}
  </a>
);

export const LiveMark = ({ staleSinceMs }: { readonly staleSinceMs: number | undefined }): JSX.Element => (
  <span class="live" role="status">
    <Icon of={staleSinceMs === undefined ? "live" : "stale"} />
    {staleSinceMs === undefined ? "Live" : `Live updates paused, as of ${when(staleSinceMs, Date.now()).replace("today ", "")}`}
  </span>
);

/** A heading, a reason and the next step, where nothing can be shown. */
export const Empty = ({
  mark,
  title,
  children,
}: {
  readonly mark: Mark;
  readonly title: string;
  readonly children?: ComponentChildren;
}): JSX.Element => (
  <section class="empty">
    <Icon of={mark} />
    <h1>{title}</h1>
    {children}
  </section>
);

const MARK_OF: Readonly<Record<number, Mark>> = { 401: "padlock", 403: "padlock", 404: "gone" };

export const Trouble = ({ problem: { status, title, detail } }: { readonly problem: Problem }): JSX.Element => (
  <Empty mark={MARK_OF[status] ?? "stale"} title={title}>
    <p><Told>{detail}</Told></p>
    {status === 404 && <p>Look for it in <a href="/runs">the runs</a> or <a href="/">the catalogue</a>.</p>}
  </Empty>
); // biome-ignore format: one sentence a line

/** Shows the answer as soon as there is one. Nothing is drawn before 300 ms: what comes at once would only flicker. */
export function Shown<T>({
  asked,
  children,
}: {
  readonly asked: Asked<T>;
  readonly children: (value: T) => ComponentChildren;
}): JSX.Element {
  const { value, problem, isSlow } = asked;
  if (problem !== undefined) return <Trouble problem={problem} />;
  if (value !== undefined) return <>{children(value)}</>;
  return (
    <>
      {isSlow && (
        <p class="loading" role="status">
          Loading
        </p>
      )}
    </>
  );
}
