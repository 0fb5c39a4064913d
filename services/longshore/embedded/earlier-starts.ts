/**
 * Remembers with which options of `up` each group was served from this data folder, and tells which unfinished runs this start
 * leaves unserved, and which broker it leaves.
 *
 * The failures this prevents: an `up` with another cluster in the same folder, whose earlier runs stay active, and nobody acts on
 * them or says so; and an `up` without the broker of the last start, whose applications wait for ends that are told elsewhere.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { GroupName, RunId } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import { z } from "zod";
import { withoutCredentials } from "@longshore/runtime/config/secret.ts";
import { quoted } from "@longshore/runtime/shell-word.ts";
import { paragraph, whole } from "../screen/rows.ts";
import type { Screen } from "../screen/screen.ts";

const Starts = z.record(z.string(), z.array(z.string()));
type Starts = Readonly<z.infer<typeof Starts>>;

/**
 * Notes that the group is served with these options, and returns the options of every group that was served from here. If the
 * file cannot be read, the options of earlier starts are lost: for their groups no command can be named.
 */
export async function noteStart(home: string, group: string, options: readonly string[]): Promise<Starts> {
  const file = join(home, "starts.json");
  const text = await readFile(file, "utf8").catch(() => "{}");
  const before = Starts.safeParse(jsonOf(text));
  const starts = { ...(before.success ? before.data : {}), [group]: [...options] };
  await writeFile(file, JSON.stringify(starts, null, 2), { mode: 0o600 });
  return starts;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a full disk cut it off
  }
}

/** The broker inside the ledger, which has no URL of its own. */
export const INSIDE = "inside the ledger";

/** Returns the broker of the last start, `INSIDE` for that of its ledger; `undefined` before the first start. */
export async function brokerBefore({ home, brokerFile, ledgerFile }: BrokerFiles): Promise<string | undefined> {
  const read = async (file: string) => await readFile(join(home, file), "utf8").catch(() => undefined);
  const [broker, ledger] = [await read(brokerFile), await read(ledgerFile)];
  return broker !== undefined && broker === ledger ? INSIDE : broker;
}

export interface BrokerFiles {
  readonly home: string;
  readonly brokerFile: string;
  readonly ledgerFile: string;
}

/** True if both are one broker. A password may have been changed, and the broker's own space is written in three ways. */
export const isSameBroker = (one: string, other: string): boolean => {
  if (!URL.canParse(one) || !URL.canParse(other)) return one === other;
  const [a, b] = [new URL(one), new URL(other)];
  for (const url of [a, b]) {
    url.password = "";
    if (["/", "/%2F", "/%2f"].includes(url.pathname)) url.pathname = "";
  }
  return a.href === b.href;
};

/** A URL as a command to paste may have it: its user and password are typed by the person. */
export function withoutUser(url: string): string {
  const bare = new URL(url);
  bare.username = bare.password = "";
  return bare.href;
}

/**
 * Throws if runs of the last start's broker are open and this start has another one: their ends would be told where nobody waits
 * for them.
 */
export async function refuseOtherBroker(
  ledger: Pick<Ledger, "list">,
  { before, isMeant }: { readonly before: string; readonly isMeant: boolean },
): Promise<void> {
  if (isMeant) return;
  const open = async (state: "active" | "cancelling") => await ledger.list({ state, most: 1 });
  const [run] = [...(await open("active")), ...(await open("cancelling"))];
  if (run === undefined) return;
  const [broker, options] = before === INSIDE ? [INSIDE, []] : [withoutUser(before), ["--broker", withoutUser(before)]];
  const goesOn = `\`${startCommand(options)}\` goes on with them${before === INSIDE ? "" : " (add its user and password)"}`;
  throw new Failure(
    "halt",
    "OtherBroker",
    `runs of the last start, such as ${run.id}, are not over, and their ends belong to its broker, ${broker}. ${goesOn}; --other-broker starts all the same, and tells their ends at the broker of this start.`,
  );
}

/** Says that applications at the last start's broker hear nothing of this start. */
export function otherBrokerLines(before: string, screen: Screen): readonly string[] {
  const inside = before === INSIDE;
  const told = `The last start from this folder used another broker, ${inside ? INSIDE : withoutCredentials(before)}. What is published there waits, and how its runs end is told here, and not there. To use it again, stop this and start${inside ? "" : ", with its user and password,"}`;
  return [
    "",
    ...paragraph(told, { indent: 2, tone: "strong" }, screen),
    whole(startCommand(inside ? [] : ["--broker", withoutUser(before)]), 4),
    "",
  ];
}

/** The command as a person types it. */
export const startCommand = (options: readonly string[]): string =>
  ["npm start", ...(options.length > 0 ? ["--"] : []), ...options.map(quoted)].join(" ");

export interface Left {
  readonly group: GroupName;
  readonly runs: readonly RunId[];
  /** True if there are more runs than are named. */
  readonly more: boolean;
}

const NAMED_MOST = 10;

/**
 * Returns the unfinished runs of all groups but the served one, by group.
 *
 * If no other launcher uses the ledger, the other groups are not served from now on. The ledger itself would notice that after
 * minutes, and would place new runs there until then.
 */
export async function leftBehind(
  ledger: Pick<Ledger, "groups" | "list" | "setGroup">,
  { serves, isOwnLedger }: { readonly serves: string; readonly isOwnLedger: boolean },
): Promise<readonly Left[]> {
  const left: Left[] = [];
  for (const { name: group } of await ledger.groups()) {
    if (group === serves) continue;
    if (isOwnLedger) await ledger.setGroup(group, { served: false });
    const of = async (state: "active" | "cancelling") => await ledger.list({ state, group, most: NAMED_MOST + 1 });
    const runs = [...(await of("active")), ...(await of("cancelling"))].map(({ id }) => id);
    if (runs.length > 0) left.push({ group, runs: runs.slice(0, NAMED_MOST), more: runs.length > NAMED_MOST });
  }
  return left;
}
