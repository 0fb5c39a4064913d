/** The groups: how each is, what is in it, why it takes nothing, and the two deeds of an operator on one: to pause it, and to empty it. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Groups as Answer, GroupView } from "../answers-for-operators.ts";
import { post, type Problem, Refusal } from "./api.ts";
import { SlotsBar, slotsText } from "./bars.tsx";
import { Empty, LiveMark, Shown } from "./frame.tsx";
import { Icon, type Mark } from "./marks.tsx";
import { Told } from "./told.tsx";
import { LOOK_MS, useAnswer, useNow } from "./use.ts";
import { exactly, span, when } from "./words.ts";

export function Groups(): JSX.Element {
  const asked = useAnswer<Answer>("/v1/groups", {}, undefined, LOOK_MS);
  return (
    <Shown asked={asked}>
      {(answer) => answer.groups.length === 0 ? <NoGroup /> : <Rows answer={answer} staleSinceMs={asked.staleSinceMs} look={asked.look} />}
    </Shown>
  ); // biome-ignore format: as it stands on the page
}

const NoGroup = (): JSX.Element => (
  <Empty mark="to come" title="There is no group yet">
    <p>A group is a namespace of a cluster, with two credentials and limits. The launcher reads them from its groups file:</p>
    <pre>{`# config/groups.yaml
groups:
  prod-a:
    cluster: { kubeconfig: prod.yaml, context: prod }
    namespaces: [batch]
    limits: { jobs: 40 }`}</pre>
    <p>It stands here as soon as a launcher has read it. <Told>{"`npx longshore doctor`"}</Told> says what a new group lacks.</p>
  </Empty>
); // biome-ignore format: one sentence a line

function Rows({ answer: { hasLauncher, groups, nowMs }, staleSinceMs, look }: { readonly answer: Answer; readonly staleSinceMs: number | undefined; readonly look: () => void }): JSX.Element {
  const now = useNow(true);
  // Both ends of an age are the ledger's: the browser's clock may be another.
  const [skewMs] = useState(nowMs - Date.now());
  return (
    <>
      <div class="head"><h1>Groups</h1><LiveMark staleSinceMs={staleSinceMs} /></div>
      {!hasLauncher && <p class="warning"><Icon of="alert" /> No launcher runs with this ledger, so nobody acts on these groups or hears of them. Start one; if one was started, its log says why it stopped.</p>}
      <table class="rows of-groups">
        <thead><tr><th>Group</th><th>Health</th><th>Slots</th><th>Waiting runs</th><th>Takes runs</th><th>Watched</th><th>Accounting</th><th><span class="unseen">Deeds</span></th></tr></thead>
        <tbody>{groups.map((it) => <Row key={it.name} group={it} nowMs={now + skewMs} look={look} isStale={staleSinceMs !== undefined} />)}</tbody>
      </table>
    </>
  );
} // biome-ignore format: as it stands on the page

interface RowOf {
  readonly group: GroupView;
  readonly nowMs: number;
  readonly look: () => void;
  readonly isStale: boolean;
}

const Row = ({ group, nowMs, look, isStale }: RowOf): JSX.Element => (
  <tr>
    <td><b>{group.name}</b><small>{group.namespace}</small></td>
    <td><Standing group={group} nowMs={nowMs} /></td>
    <td data-head="Slots"><span class={isStale ? "old" : undefined}><SlotsBar slots={group.slots} /></span><small>{slotsText(group.slots)}{isStale && ", when last seen"}</small></td>
    <td data-head="Waiting runs"><b>{group.waiting.count}</b>{group.waiting.sinceMs !== undefined && <small>oldest for {span(nowMs - group.waiting.sinceMs)}</small>}</td>
    <td data-head="Takes runs" class="takes"><Takes group={group} /></td>
    <td data-head="Watched"><Watched group={group} nowMs={nowMs} /></td>
    <td data-head="Accounting"><Accounting group={group} nowMs={nowMs} /></td>
    <td><Deeds group={group} look={look} /></td>
  </tr>
); // biome-ignore format: one column a line

const WORDS: Readonly<Record<GroupView["word"], readonly [mark: Mark, tone: string, word: string]>> = {
  healthy: ["succeeded", "succeeded", "Healthy"],
  unhealthy: ["failed", "failed", "Unhealthy"],
  unknown: ["to come", "none", "Not reached yet"],
  unwatched: ["stalled", "stalled", "Unwatched"],
  unserved: ["gone", "none", "Unserved"],
  paused: ["paused", "none", "Paused"],
};

function Standing({ group: { word, paused, left }, nowMs }: Pick<RowOf, "group" | "nowMs">): JSX.Element {
  const drains = word === "paused" && paused?.drain === true;
  const [mark, tone, text] = drains ? ([left === "" ? "none" : "download", "none", left === "" ? "Empty" : "Draining"] as const) : WORDS[word];
  return (
    <span class={`state ${tone}`} role="status">
      <Icon of={mark} />
      <span>
        <b>{text}</b>
        {paused !== undefined && <small><time title={exactly(paused.sinceMs)}>{when(paused.sinceMs, nowMs)}</time>{paused.actor && ` by ${paused.actor.name}`}</small>}
      </span>
    </span>
  );
} // biome-ignore format: as it stands on the page

/** The reasons in words; of a paused group what is left there, so that an operator knows when the group is empty. */
function Takes({ group: { remarks, paused, left } }: Pick<RowOf, "group">): JSX.Element {
  const stops = remarks.some((it) => it.stops);
  const told = remarks.filter(({ about }) => about !== "paused");
  return (
    <>
      <b>{stops ? (paused ? "no: paused" : "no") : "yes"}</b>
      {paused?.reason !== undefined && <small>“{paused.reason}”</small>}
      {paused !== undefined && <small>{left === "" ? "nothing of ours is left there" : `${left}; then it is empty`}</small>}
      {told.map(({ about, says, todo }) => (
        <details key={about}>
          <summary>{says}</summary>
          {todo !== undefined && <p><Told>{todo}</Told></p>}
        </details>
      ))}
    </>
  );
} // biome-ignore format: as it stands on the page

/** A watcher is heard of once a minute while nothing happens: a plain "50 s ago" would look like trouble. */
function Watched({ group: { watchedAtMs, remarks }, nowMs }: Pick<RowOf, "group" | "nowMs">): JSX.Element {
  if (watchedAtMs === undefined) return <><b>never</b></>;
  const age = span(Math.max(0, nowMs - watchedAtMs));
  if (remarks.some(({ about }) => about === "unwatched")) return <span class="state stalled"><Icon of="stalled" /><span><b>no</b><small>not heard of for {age}</small></span></span>;
  return <><b>yes</b><small>last heard of {age} ago</small></>;
} // biome-ignore format: one line each

function Accounting({ group: { tally, finishedHolds }, nowMs }: Pick<RowOf, "group" | "nowMs">): JSX.Element {
  const { count, oldestMs } = finishedHolds;
  return (
    <>
      {tally === undefined ? <b>not compared yet</b> : <b class={tally.unknown > 0 ? "bad" : undefined}>{tally.unknown} unaccounted</b>}
      {tally !== undefined && <small>compared {span(Math.max(0, nowMs - tally.atMs))} ago</small>}
      {count > 0 && <small>{count} ended {count === 1 ? "Job has" : "Jobs have"} our hold{oldestMs !== undefined && `, the oldest for ${span(Math.max(0, nowMs - oldestMs))}`}</small>}
    </>
  );
} // biome-ignore format: as it stands on the page

const ACTS = { pause: ["paused", "Pause"], drain: ["download", "Drain"], resume: ["resume", "Resume"] } as const;
type Act = keyof typeof ACTS;

/** Pause and Drain stop the same; Drain also says that the group is to become empty. The effect stands above the button that does it. */
function Deeds({ group: { name, paused }, look }: Pick<RowOf, "group" | "look">): JSX.Element {
  const [chosen, choose] = useState<Act>();
  const [isSent, setSent] = useState(false);
  const [said, say] = useState<Problem | "late">();
  const act = async (deed: Act, reason = ""): Promise<void> => {
    if (isSent) return;
    setSent(true);
    say(undefined);
    try {
      const { answered } = await post<{ readonly answered: boolean }>(`/v1/group/${deed}`, { group: name, ...(reason !== "" && { reason }) });
      if (!answered) say("late");
      choose(undefined);
    } catch (error) {
      if (error instanceof Refusal) say(error.problem);
    }
    setSent(false);
    look();
  };
  const button = (deed: Act): JSX.Element => (
    <button type="button" class="small" aria-label={`${ACTS[deed][1]} ${name}`} aria-expanded={deed === "resume" ? undefined : chosen === deed} aria-disabled={isSent}
      onClick={() => (deed === "resume" ? void act(deed) : choose(chosen === deed ? undefined : deed))}>
      <Icon of={ACTS[deed][0]} /> {ACTS[deed][1]}
    </button>
  );
  return (
    <div class="deeds">
      {paused === undefined ? [button("pause"), button("drain")] : [paused.drain === true ? null : button("drain"), button("resume")]}
      {chosen !== undefined && <Confirm key={chosen} deed={chosen} group={name} isSent={isSent} act={(reason) => void act(chosen, reason)} />}
      {said === "late" && <p role="status">Sent; the launcher has not answered yet.</p>}
      {said !== undefined && said !== "late" && <p class="problem" role="alert">{said.detail}</p>}
    </div>
  );
} // biome-ignore format: as it stands on the page

interface Confirming {
  readonly deed: Act;
  readonly group: string;
  readonly isSent: boolean;
  readonly act: (reason: string) => void;
}

function Confirm({ deed, group, isSent, act }: Confirming): JSX.Element {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const reason = new FormData(event.currentTarget as HTMLFormElement).get("reason");
    act(typeof reason === "string" ? reason.trim() : "");
  };
  return (
    <form class="confirm" onSubmit={submit}>
      <p>Nothing new starts in {group}. What runs there goes on{deed === "drain" && ", and this page says when the group is empty"}. Runs that were only in line go to another of their groups, or wait.</p>
      <label>Why <small class="optional">(optional, shown on this page)</small><input name="reason" maxLength={200} autocomplete="off" /></label>
      <button type="submit" class="small" aria-disabled={isSent}><Icon of={ACTS[deed][0]} /> {isSent ? "Sent" : `${ACTS[deed][1]} it`}</button>
    </form>
  );
} // biome-ignore format: as it stands on the page
