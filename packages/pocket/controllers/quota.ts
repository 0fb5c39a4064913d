/**
 * Quotas: the charge at admission, and the controller that counts again.
 *
 * The bug this prevents: a product that believes a quota's numbers. A real quota is charged before the name is looked at, so
 * each POST of a name that is taken costs room that nobody uses. That room comes back when an object of that kind is deleted,
 * or at the next count, five minutes later. A deleted object gives its room back a little later, not at once.
 */
import { pick } from "./delays.ts";
import type { Parts } from "./parts.ts";
import type { ApiObject, Container, Fields, PodObject, PodSpec, Resource } from "../objects.ts";
import { fieldsIn, finishedPhase, qualified } from "../objects.ts";
import type { Change, Store } from "../server/store.ts";

const COUNT_AGAIN_MS = 300_000;
const COUNTED: readonly Resource[] = ["jobs", "pods", "configmaps", "secrets", "persistentvolumeclaims"];

interface QuotaStatus {
  readonly hard: Fields;
  readonly used: Fields;
}

export function startQuotas({ store, clock, agenda, delays }: Parts): void {
  function hear({ resource, type, object, before }: Change): void {
    const { uid, namespace = "" } = object.metadata;
    if (resource === "resourcequotas") {
      if (type === "DELETED") return agenda.cancel(`quota:${uid}`);
      if (before === undefined || before.spec !== object.spec) soon(object);
      return;
    }
    const ended = resource === "pods" && type === "MODIFIED" && !counts(resource, object) && counts(resource, before ?? object);
    if (type === "DELETED" || ended) for (const it of store.list("resourcequotas", namespace)) soon(it);
  }

  const soon = (quota: ApiObject): void =>
    agenda.soon(`quota:${quota.metadata.uid}`, pick(delays.collectorMs, clock), () => countAgain(quota.metadata.uid));

  function countAgain(uid: string): void {
    const quota = store.exists(uid);
    if (quota === undefined) return;
    agenda.at(`quota:${uid}`, clock.now() + COUNT_AGAIN_MS, () => countAgain(uid));
    const { namespace = "" } = quota.metadata;
    const hard = hardOf(quota);
    const used = Object.fromEntries(
      Object.keys(hard).map((what) => {
        const n = COUNTED.reduce((sum, it) => sum + usage(it, what, store.list(it, namespace)), 0);
        return [what, shown(what, n)];
      }),
    );
    const status: QuotaStatus = { hard, used };
    if (JSON.stringify(status) !== JSON.stringify(quota.status)) store.replace("resourcequotas", { ...quota, status });
  }

  store.listen(hear);
}

export interface Charge {
  /** The reason why the object is refused, in the words of admission. */
  readonly refused: string | undefined;
  /** Charges the quotas. A refused object or a dry run charges nothing. */
  book(): void;
}

/** Judges one more object by the quotas' own counts, not by the objects that are there. */
export function charge(store: Store, resource: Resource, namespace: string, object: ApiObject): Charge {
  const changes: ApiObject[] = [];
  for (const quota of store.list("resourcequotas", namespace)) {
    const { hard = {}, used = {} } = (quota.status ?? {}) as Partial<QuotaStatus>;
    const unstated = Object.keys(hard).flatMap((what) => missing(resource, what, object));
    const refused = (why: string): Charge => ({ refused: why, book: () => undefined });
    if (unstated.length > 0) return refused(`failed quota: ${quota.metadata.name}: must specify ${unstated.join("; ")}`);
    const wanted = Object.entries(hard).flatMap(([what, limit]) => {
      const requested = usage(resource, what, [object]);
      return requested === 0 ? [] : [{ what, limit, requested, before: quantity(used[what] ?? "0") }];
    });
    const over = wanted.filter((it) => it.before + it.requested > quantity(it.limit));
    if (over.length > 0) {
      const list = (say: (it: (typeof over)[number]) => string): string => over.map((it) => `${it.what}=${say(it)}`).join(",");
      return refused(
        `exceeded quota: ${quota.metadata.name}, requested: ${list((it) => shown(it.what, it.requested))}, ` +
          `used: ${list((it) => shown(it.what, it.before))}, limited: ${list((it) => String(it.limit))}`,
      );
    }
    if (wanted.length === 0) continue;
    const after = Object.fromEntries(wanted.map((it) => [it.what, shown(it.what, it.before + it.requested)]));
    changes.push({ ...quota, status: { hard, used: { ...used, ...after } } });
  }
  return { refused: undefined, book: () => void changes.map((it) => store.replace("resourcequotas", it)) };
}

const hardOf = (quota: ApiObject): Fields => fieldsIn(fieldsIn(quota.spec)["hard"]);

/** Ended pods do not count; Jobs count as long as they are there, held or not. */
const counts = (resource: Resource, object: ApiObject): boolean => resource !== "pods" || !finishedPhase(object as PodObject);

function usage(resource: Resource, what: string, objects: readonly ApiObject[]): number {
  const live = objects.filter((it) => counts(resource, it));
  if (what === `count/${qualified(resource)}` || what === resource) return live.length;
  if (resource === "persistentvolumeclaims" && what === "requests.storage")
    return live.reduce(
      (sum, { spec }) => sum + quantity(fieldsIn(fieldsIn(fieldsIn(spec)["resources"])["requests"])["storage"] ?? "0"),
      0,
    );
  const need = needOf(resource, what);
  return need === undefined
    ? 0
    : live.reduce((sum, it) => sum + containersOf(it).reduce((n, one) => n + stated(one, need), 0), 0);
}

interface Need {
  readonly of: "requests" | "limits";
  readonly name: string;
}

/** "cpu" is short for "requests.cpu". */
function needOf(resource: Resource, what: string): Need | undefined {
  const [, of = "requests", name] = /^(?:(requests|limits)\.)?(cpu|memory)$/.exec(what) ?? [];
  return resource !== "pods" || name === undefined || (of !== "requests" && of !== "limits") ? undefined : { of, name };
}

const containersOf = (object: ApiObject): readonly Container[] => (object.spec as PodSpec).containers;

/** If no request is given, the limit counts as the request. */
function stated({ resources }: Container, { of, name }: Need): number {
  return quantity(
    (of === "requests" ? (resources?.requests?.[name] ?? resources?.limits?.[name]) : resources?.limits?.[name]) ?? "0",
  );
}

function missing(resource: Resource, what: string, object: ApiObject): readonly string[] {
  const need = needOf(resource, what);
  if (need === undefined) return [];
  const without = containersOf(object).filter((it) => stated(it, need) === 0);
  return without.length === 0 ? [] : [`${what} for: ${without.map((it) => it.name).join(",")}`];
}

/** As a real server writes storage: in the largest unit that leaves a whole number. */
function shownBytes(n: number): string {
  const [unit, size] = Object.entries(UNITS).findLast(([name, it]) => name.endsWith("i") && n > 0 && n % it === 0) ?? ["", 1];
  return `${n / size}${unit}`;
}

const shown = (what: string, n: number): string =>
  what === "requests.storage"
    ? shownBytes(n)
    : what.endsWith("cpu") && !Number.isInteger(n)
      ? `${Math.round(n * 1000)}m`
      : String(n);

const UNITS: Readonly<Record<string, number>> = {
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

function quantity(text: unknown): number {
  const [, digits, unit = ""] = /^([0-9.]+)([a-zA-Z]*)$/.exec(String(text)) ?? [];
  return digits === undefined ? 0 : Number(digits) * (UNITS[unit] ?? 1);
}
