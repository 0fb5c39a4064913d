/**
 * What `longshore doctor` says of each group: preflight with both of its credentials, and a Job created as a dry run.
 *
 * The failure this prevents: a group of which everything is well but what it is there for.
 */
import { GroupName, Installation, RunId, StepName } from "@longshore/contract/ids.ts";
import { classifyCreate, diagnoseReply } from "@longshore/domain/diagnosis/replies.ts";
import { diagnoseTransport } from "@longshore/domain/diagnosis/transport.ts";
import { manifest } from "@longshore/domain/pod/manifest.ts";
import { DEFAULTS } from "@longshore/domain/run/defaults.ts";
import { readGroups } from "@longshore/kubernetes/groups.ts";
import { type Explain, preflight, type Row } from "@longshore/kubernetes/preflight.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import type { Finding } from "./doctor.ts";
import type { Longshore } from "./place.ts";

export async function groups({ groupsFile, installation }: Longshore, signal: AbortSignal): Promise<readonly Finding[]> {
  const each = (["launcher", "watcher"] as const).map(async (role) => {
    await using opened = await readGroups(groupsFile, {
      credential: role === "launcher" ? "launch" : "watch",
      clock: systemClock,
    });
    const rows = opened.clusters.map(async ({ name, namespace, transport, connection }) => {
      const job = sample(installation, name, namespace);
      const asked = {
        connection,
        transport,
        clock: systemClock,
        namespace,
        role,
        manifest: job,
        explain: explainIn(name, namespace),
      };
      const found = await preflight(asked, signal);
      return found.filter(({ state }) => state !== "skipped").map((row) => findingOf(name, role, row));
    });
    return (await Promise.all(rows)).flat();
  });
  const findings = (await Promise.all(each)).flat();
  return findings.toSorted((a, b) => (a.part < b.part ? -1 : a.part > b.part ? 1 : 0));
}

/** As the launcher tells of it in its events. */
export function explainIn(group: string, namespace: string): Explain {
  return (to, unread) => {
    if (unread.kind !== "answered") return diagnoseTransport(unread.failure, `The cluster of group "${group}"`);
    const reply = to === "create" ? classifyCreate(unread, { group, namespace }) : undefined;
    return reply === undefined || reply.kind === "exists" ? diagnoseReply(unread, { group, namespace }) : reply.diagnosis;
  };
}

const STATES = { ok: "ok", warning: "WARN", failed: "FAIL", skipped: "ok" } as const;

function findingOf(group: string, role: string, { step, state, detail, code, hint }: Row): Finding {
  const says = `${role}: ${step}: ${detail}${code === undefined ? "" : `  ${code}`}`;
  return { part: group, state: STATES[state], says, ...(hint !== undefined && { todo: hint.replaceAll("<group>", group) }) };
}

/** A Job as the launcher makes it, for a dry run: admission judges it, and nobody keeps it. */
function sample(installation: Installation, group: GroupName, namespace: string): object {
  const amounts = { cpu: "10m", memory: "16Mi" };
  return manifest({
    installation,
    group: { name: group, namespace },
    run: { id: RunId.parse("longshore-doctor") },
    step: {
      name: StepName.parse("main"),
      image: "registry.k8s.io/pause:3.10",
      resources: { requests: amounts, limits: amounts },
    },
    attempt: 1,
    generation: 1,
    epoch: 1,
    name: `longshore-doctor-${crypto.randomUUID().slice(0, 8)}`,
    hashOfRun: "doctor",
    proof: "none",
    limits: DEFAULTS,
  });
}
