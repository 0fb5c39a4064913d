/** For tests: a group's view in each state, and an example of each input. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { GroupName } from "@longshore/contract/ids.ts";
import type { GroupContext } from "../health.ts";
import { type GroupInputKind, type GroupInputOf, UNREACHED, unverified, type ViewIn, type ViewState } from "../view.ts";

export const NOW = Date.UTC(2030, 0, 1);
export const SECOND = 1_000;
export const OURS = "uid-of-ours";
export const ANOTHER = "uid-of-another";

export const context = (nowMs = NOW): GroupContext => ({ nowMs, group: GroupName.parse("prod-a"), namespace: "batch" });

export const silence = diagnose("EndpointUnreachable", "It did not answer.");
export const forbidden = diagnose("Forbidden", "Longshore may not create jobs.");
const moved = diagnose("GroupMoved", "Another namespace answers.");
const terminating = diagnose("NamespaceTerminating", "It is being deleted.");

const named = { namespaceUid: OURS };

export const view: { readonly [S in ViewState]: ViewIn<S> } = {
  unverified: unverified({ ...UNREACHED, ...named }),
  healthy: { state: "healthy", ...named },
  doubted: { state: "doubted", ...named },
  refusing: {
    state: "refusing",
    ...named,
    diagnosis: forbidden,
    refusals: { times: 1, untilMs: NOW + 10 * SECOND, diagnosis: forbidden },
  },
  terminating: { state: "terminating", ...named, diagnosis: terminating },
  barred: { state: "barred", ...named, diagnosis: forbidden },
  away: { state: "away", ...named, diagnosis: silence },
  moved: { state: "moved", ...named, diagnosis: moved },
};

export const input: { readonly [K in GroupInputKind]: GroupInputOf<K> } = {
  answered: { kind: "answered", uid: OURS, deleting: false },
  missing: { kind: "missing" },
  refused: { kind: "refused", diagnosis: diagnose("AuthRejected", "The token was refused.") },
  silent: { kind: "silent", diagnosis: silence },
  throttled: { kind: "throttled", quiet: { untilMs: NOW + 5 * SECOND, why: "It has too much to do." } },
  writeRefused: { kind: "writeRefused", diagnosis: forbidden },
  writeTaken: { kind: "writeTaken" },
  recorded: { kind: "recorded", ...named, health: "healthy", diagnosis: undefined },
  unnamed: { kind: "unnamed", ...UNREACHED, namespaceUid: undefined },
  heeded: { kind: "heeded" },
  overruled: { kind: "overruled" },
};
