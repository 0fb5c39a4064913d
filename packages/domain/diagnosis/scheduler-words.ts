/**
 * Reads the scheduler's sentence about a pod that no node takes: how many nodes there are, and what each lacks.
 *
 * The failure this prevents: "0/4 nodes are available: … preemption: 0/4 nodes are available: …", of which only the numbers in
 * the middle help the reader.
 */
import { joined, firstLineOf } from "./foreign-words.ts";

/** The text after "No node can take the pod: ". */
export function unplacedWhy(message: string): string {
  if (/^no nodes available/i.test(message)) return "the cluster has no node";
  if (/unbound immediate PersistentVolumeClaims/.test(message)) return "its claim has no volume yet (pod has unbound claims)";
  const [, short] = /^Node didn't have enough resource: (\S+?),/.exec(message) ?? [];
  if (short !== undefined) return `it has too little ${RESOURCES[short] ?? short} left`;
  const [, count, list] = /^0\/(\d+) nodes? (?:is|are) available: (.*)$/s.exec(message) ?? [];
  if (count === undefined || list === undefined) return firstLineOf(message);
  const groups = firstSentence(list).split(/, (?=\d+ )/);
  const lacks = groups.map(lackOf);
  // If a lack concerns the pod as a whole, the nodes do not matter.
  if (lacks.some((it) => it === undefined)) return firstLineOf(firstSentence(list));
  const nodes = Number(count) === 1 ? "of 1 node, " : `of ${count} nodes, `;
  return nodes + joined(lacks.flatMap((it) => it ?? []));
}

const RESOURCES: Readonly<Record<string, string>> = { cpu: "CPU", "ephemeral-storage": "disk", pods: "room for pods" };

/** Cuts the rest of the message, which is about preemption and repeats the numbers. */
const firstSentence = (list: string): string => (/^(.*?)\.(?:\s|$)/s.exec(list)?.[1] ?? list).trim();

type Lack = readonly [about: RegExp, one: string, several: string];

/** `$1` is replaced by the text that the pattern caught. */
// biome-ignore format: a table is read down its columns
const LACKS: readonly Lack[] = [
  [/^Insufficient cpu$/,                                      "has too little CPU left",                       "have too little CPU left"],
  [/^Insufficient memory$/,                                   "has too little memory left",                    "have too little memory left"],
  [/^Insufficient ephemeral-storage$/,                        "has too little disk left",                      "have too little disk left"],
  [/^Insufficient (\S+)$/,                                    "has too few $1 left",                           "have too few $1 left"],
  [/^Too many pods$/,                                         "has as many pods as it takes",                  "have as many pods as they take"],
  [/taint\(?s?\)? \{node\.kubernetes\.io\/(?:unreachable|not-ready)/, "does not answer",                       "do not answer"],
  [/taint\(?s?\)? \{node\.kubernetes\.io\/unschedulable|unschedulable/, "is closed to new pods (cordoned)",    "are closed to new pods (cordoned)"],
  [/taint\(?s?\)? \{node\.kubernetes\.io\/(memory|disk|pid)-pressure/, "is short of $1",                       "are short of $1"],
  [/taint\(?s?\)? \{([^:}]+)/,                                "is kept for others (taint $1)",                 "are kept for others (taint $1)"],
  [/untolerated taint/,                                       "has a taint: kept for others, or out of order", "have taints: kept for others, or out of order"],
  [/didn't match Pod's node affinity\/selector/,              "does not match the pod's node selector",        "do not match the pod's node selector"],
  [/volume node affinity/,                                    "cannot reach the pod's volume",                 "cannot reach the pod's volume"],
  [/exceed max volume count/,                                 "has as many volumes as it takes",               "have as many volumes as they take"],
];

/** "3 node(s) had untolerated taint {x: y}"; `undefined` if it is not about nodes. */
function lackOf(group: string): string | undefined {
  const [, count, what] = /^(\d+) (.*)$/s.exec(group) ?? [];
  if (count === undefined || what === undefined) return undefined;
  for (const [about, one, several] of LACKS) {
    const caught = about.exec(what);
    if (caught) return `${count} ${(count === "1" ? one : several).replace("$1", (caught[1] ?? "").trim())}`;
  }
  return `${count} ${what.replace(/^node\(s\) /, "")}`;
}
