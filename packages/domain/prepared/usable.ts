/** Why a definition cannot be run now, in a sentence; `undefined` if it can. A file's definition always can. */
export interface Usable {
  readonly prepared?:
    | {
        readonly kind: string;
        readonly name: string;
        readonly problems: readonly string[];
        readonly goneAtMs?: number | undefined;
      }
    | undefined;
}

export function whyUnusable({ prepared }: Usable): string | undefined {
  if (prepared === undefined) return undefined;
  const { kind, name, problems, goneAtMs } = prepared;
  if (goneAtMs !== undefined) return `The ${kind} ${name} is gone from its cluster, or has lost its annotation.`;
  return problems.length > 0 ? problems.join(" ") : undefined;
}
