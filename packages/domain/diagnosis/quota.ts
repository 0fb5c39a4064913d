/**
 * Reads Kubernetes' sentence about a quota, since Kubernetes gives no structured cause.
 *
 * The bug this prevents: a run that asks for more than the quota ever allows waits for a day until it fails, or a run that only
 * has to wait its turn fails at once.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { quantity } from "@longshore/contract/units.ts";
import { joined, firstLineOf } from "./foreign-words.ts";

const EXCEEDED = /exceeded quota: ([^,]+), requested: (.+?), used: (.+?), limited: (.+?)(?:["\s.]*$|; )/;
const UNSTATED = /failed quota: ([^:]+): must specify (.+)$/;
/** One objection of a LimitRange to a pod. Kubernetes writes several as a list: "[one, another]". */
const BREACH =
  /(maximum|minimum) (\S+) usage per (\S+) is ([^\s,\]]+?)(?:, but (limit|request) is ([^\s,\]]+?)|\. +No (limit|request) is specified)(?=\.?$|[,\]])/g;

const RATIO = /(\S+) max limit to request ratio per (\S+) is ([^\s,\]]+), but/g;
const BREACHES_MOST = 480;

/** Returns the objection of a quota or a limit range; `undefined` if the message speaks of neither. */
export function diagnoseQuota(message: string): Diagnosis | undefined {
  const said = clip(message);
  const [, name, requested, used, limited] = EXCEEDED.exec(said) ?? [];
  if (name !== undefined && requested !== undefined && used !== undefined && limited !== undefined)
    return exceeded(name, amounts(requested), amounts(used), amounts(limited), said);
  const [, quota, unstated] = UNSTATED.exec(said) ?? [];
  if (quota !== undefined && unstated !== undefined)
    return diagnose("AdmissionDenied", `The quota "${quota}" demands that the request states ${wordsOf(unstated)}.`, [said]);
  const breaches = [...[...said.matchAll(BREACH)].map(breachOf), ...[...said.matchAll(RATIO)].map(ratioOf)];
  if (breaches.length === 0) return undefined;
  return diagnose(
    "QuotaImpossible",
    `${firstLineOf(joined([...new Set(breaches)]).replace(/^t/, "T"), BREACHES_MOST)}.`,
    [said],
    "Ask for amounts that the namespace's LimitRange allows, or ask its people to change it.",
  );
}

/** "the limit of 2Gi memory breaks the namespace's maximum of 1Gi per container" */
function breachOf([, bound, what = "", per = "", allowed, kind, asked, unstated]: readonly (string | undefined)[]): string {
  const amount = kind === undefined ? `missing ${unstated} of ${plain(what)}` : `${kind} of ${asked} ${plain(what)}`;
  return `the ${amount} breaks the namespace's ${bound} of ${allowed} per ${per.toLowerCase()}`;
}

const ratioOf = ([, what = "", per = "", allowed]: readonly (string | undefined)[]): string =>
  `the limit of ${plain(what.replace(/^\[/, ""))} breaks the namespace's maximum of ${allowed} times its request per ${per.toLowerCase()}`;

function exceeded(name: string, requested: Amounts, used: Amounts, limited: Amounts, said: string): Diagnosis {
  const impossible = [...requested].find(([resource, amount]) => isMore(amount, limited.get(resource)));
  if (impossible !== undefined) {
    const [resource, amount] = impossible;
    const limit = limited.get(resource) ?? "?";
    return diagnose(
      "QuotaImpossible",
      `It asks for ${amountOf(amount, resource)}, and the quota "${name}" allows ${limit} in all.`,
      [said],
    );
  }
  const parts = [...requested].map(
    ([resource, amount]) =>
      `${amountOf(amount, resource)} wanted, ${used.get(resource) ?? "?"} of ${limited.get(resource) ?? "?"} in use`,
  );
  return diagnose("QuotaExceeded", `The quota "${name}" has no room now: ${parts.join("; ")}.`, [said]);
}

type Amounts = ReadonlyMap<string, string>;

/** "count/jobs.batch=1,cpu=2" */
const amounts = (text: string): Amounts =>
  new Map(
    text.split(",").flatMap((part) => {
      const [resource, amount] = part.trim().split("=");
      return resource !== undefined && amount !== undefined ? [[resource, amount] as const] : [];
    }),
  );

/** Amounts that cannot be compared are not called impossible: waiting wrongly costs time, failing wrongly costs the run. */
function isMore(asked: string, limit: string | undefined): boolean {
  const [a, b] = [quantity(asked), limit === undefined ? undefined : quantity(limit)];
  return a !== undefined && b !== undefined && a > b;
}

const NAMES: Readonly<Record<string, string>> = { "count/jobs.batch": "Jobs", pods: "pods", cpu: "CPU", memory: "memory" };

/** "1 Job", "2 Jobs", "2 CPU (requests)" */
function amountOf(amount: string, resource: string): string {
  const [, bound, of] = /^(limits|requests)\.(.+)$/.exec(resource) ?? [];
  if (bound !== undefined && of !== undefined) return `${amount} ${NAMES[of] ?? of} (${bound})`;
  return `${amount} ${amount === "1" ? one(plain(resource)) : plain(resource)}`;
}
const one = (things: string): string => (/^(Jobs|pods)$/.test(things) ? things.slice(0, -1) : things);

/** "requests.cpu" is "requests of CPU" to a person. */
function plain(resource: string): string {
  const [, bound, of] = /^(limits|requests)\.(.+)$/.exec(resource) ?? [];
  return bound !== undefined && of !== undefined ? `${bound} of ${NAMES[of] ?? of}` : (NAMES[resource] ?? resource);
}

/** "limits.cpu for: main; requests.memory for: main" or "cpu,memory". */
const wordsOf = (unstated: string): string =>
  unstated
    .split(/[;,]/)
    .map((part) => plain(part.trim().split(" ")[0] ?? ""))
    .join(" and ");

const clip = (message: string): string => message.slice(0, 2000).trim();
