/**
 * The same objects without Longshore: made as fast as the API server answers, watched to their end, and deleted by their owner.
 * Nothing is recorded, no outcome is told, and no create is tried again.
 */
import type { ClusterChoice } from "@longshore/cli/embedded/home.ts";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import { ask } from "../parts/ask.ts";
import { transportOf } from "../parts/bench-cluster.ts";
import { COPIES, type Copies, type Copy } from "./copies.ts";
import { CONNECTIONS } from "./ceiling.ts";
import { type BareWatch, openBareWatch } from "./watch.ts";

export interface BareWork extends AsyncDisposable {
  /** Makes all objects of so many runs. Resolves when the last Job has ended and every owner is deleted. */
  runs(copies: Copies, name: string, count: number): Promise<void>;
}

/** Its credential is the launcher's, since the API server lets administrators pass before all others. */
export async function openBareWork(choice: ClusterChoice, admin: Transport): Promise<BareWork> {
  await using parts = new AsyncDisposableStack();
  const hand = parts.use(await transportOf(choice, "launch"));
  const watch = parts.use(await openBareWatch(admin, choice.namespace, COPIES));
  const kept = parts.move();
  return {
    runs: async (copies, name, count) => {
      const waiting = Array.from({ length: count }, (_, at) => `${name}-${at + 1}`);
      const ends: Promise<void>[] = [];
      const working = async (): Promise<void> => {
        for (let run = waiting.shift(); run !== undefined; run = waiting.shift())
          ends.push(ended(hand, watch, await made(hand, copies, run)));
      };
      await Promise.all(Array.from({ length: CONNECTIONS }, working));
      await Promise.all(ends);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

interface Made {
  readonly owner: { readonly path: string; readonly uid: string } | undefined;
  readonly jobs: readonly string[];
}

async function made(hand: Transport, { owner, owned, jobs }: Copies, run: string): Promise<Made> {
  const post = async (copy: Copy, ownerUid?: string) => {
    const body = copy.manifestOf(run, ownerUid);
    const path = `${copy.path}?timeout=10s&fieldManager=longshore`;
    const { metadata } = (await ask(hand, { method: "POST", path, body })) as { readonly metadata: { readonly uid: string } };
    return { path: `${copy.path}/${body.metadata.name}`, name: body.metadata.name, uid: metadata.uid };
  };
  const above = owner && (await post(owner));
  await Promise.all(owned.map((it) => post(it, above?.uid)));
  const names: string[] = [];
  for (const job of jobs) names.push((await post(job, above?.uid)).name);
  return { owner: above, jobs: names };
}

async function ended(hand: Transport, watch: BareWatch, { owner, jobs }: Made): Promise<void> {
  await Promise.all(jobs.map((name) => watch.finished(name)));
  if (owner === undefined) return;
  const body = { propagationPolicy: "Background", preconditions: { uid: owner.uid } };
  await ask(hand, { method: "DELETE", path: owner.path, body });
}
