/** How runs and events are written in a terminal. Texts of programs and requests lose their control characters. */
import { isTerminal } from "@longshore/contract/event.ts";

/** Replaces control characters: an escape sequence in a log or a name could rewrite what the reader sees. */
export const plain = (text: string): string => Array.from(text, (it) => (isControl(it) ? "·" : it)).join("");

function isControl(character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  return (code < 32 && character !== "\n" && character !== "\t") || (code >= 127 && code < 160);
}

export const clockTime = (ms: number): string => new Date(ms).toISOString().slice(11, 19);

export function span(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${Math.round(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} m`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** "run.step.succeeded" is "step succeeded" in a story. */
export const wordOf = (type: string): string => type.replace(/^run\./, "").replaceAll(".", " ");

interface Said {
  readonly diagnosis?: { readonly code: string; readonly sentence: string };
  readonly reason?: string;
  readonly node?: string;
  readonly outputs?: Readonly<Record<string, unknown>>;
  readonly job?: { readonly namespace: string; readonly name: string };
  readonly exitCode?: number;
  readonly step?: string;
  readonly why?: string;
  readonly nextAttemptAt?: string;
}

/** An event's particulars, in a few words. */
export function particulars(type: string, data: object, simple: boolean): string {
  const said = data as Said;
  const parts = [
    !simple && said.step !== undefined && said.step,
    type === "run.launched" && said.job && `${said.job.namespace}/${said.job.name}`,
    type === "run.started" && said.node !== undefined && `node ${said.node}`,
    type === "run.waiting" && said.reason,
    (type === "run.cancelling" || type === "run.cancelled" || type === "run.lost") && said.reason,
    said.exitCode !== undefined && `exit ${said.exitCode}`,
    said.diagnosis && (isTerminal(type) ? said.diagnosis.code : `${said.diagnosis.code}: ${said.diagnosis.sentence}`),
    said.nextAttemptAt !== undefined && `again at ${said.nextAttemptAt.slice(11, 19)}`,
    said.outputs && Object.keys(said.outputs).length > 0 && JSON.stringify(said.outputs),
    said.why,
  ];
  return plain(parts.filter((it) => typeof it === "string" && it !== "").join("  "));
}
