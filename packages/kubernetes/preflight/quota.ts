/**
 * Tells how full a namespace's quotas are, as one row of preflight.
 *
 * The failure this prevents: a group that takes no Job on a Monday morning while every other row says that it is well.
 */
import { quantity } from "@longshore/contract/units.ts";
import { isRaw, member, text } from "../objects.ts";
import type { Row } from "./preflight.ts";

interface Use {
  readonly quota: string;
  readonly resource: string;
  readonly used: string;
  readonly hard: string;
  /** The used part of the quota; 1: nothing more fits. */
  readonly share: number;
}

const WARN_AT = 0.9;

/** The fullest quota. */
export function quotaRow(quotas: readonly unknown[]): Row {
  const uses = quotas.flatMap(usesOf).toSorted((a, b) => b.share - a.share);
  const tight = uses.filter(({ share }) => share >= WARN_AT);
  if (tight.length === 0)
    return {
      step: "quota",
      state: "ok",
      detail: uses.length === 0 ? "no amounts counted yet" : `fullest: ${words(uses.slice(0, 1))}`,
    };
  const full = tight.filter(({ share }) => share >= 1);
  return {
    step: "quota",
    state: "warning",
    detail: full.length > 0 ? `Nothing more goes in: ${words(full)}.` : `Nearly full: ${words(tight)}.`,
    ...(full.length > 0 && { code: "QuotaExceeded" }),
    hint: "Runs wait until others finish; raise the namespace's quota if that takes too long.",
  };
}

const words = (uses: readonly Use[]): string =>
  uses.map(({ quota, resource, used, hard }) => `${used} of ${hard} ${resource} (quota ${quota})`).join(", ");

function usesOf(raw: unknown): readonly Use[] {
  const quota = text(member(member(raw, "metadata"), "name")) ?? "";
  const status = member(raw, "status");
  const [hard, used] = [member(status, "hard"), member(status, "used")];
  if (!isRaw(hard)) return [];
  return Object.keys(hard).flatMap((resource) => {
    const [limit, use] = [text(hard[resource]) ?? "", text(member(used, resource)) ?? "0"];
    const [most, now] = [quantity(limit), quantity(use)];
    if (most === undefined || now === undefined) return [];
    const share = most === 0 ? 1 : now / most;
    return [
      { quota, resource: resource.replace(/^count\//, "").replace(/^jobs\.batch$/, "Jobs"), used: use, hard: limit, share },
    ];
  });
}
