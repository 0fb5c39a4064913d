/**
 * `longshore doctor` on each group: preflight with both of its credentials, and a Job created as a dry run.
 *
 * The failure this prevents: a group that passes every check and still takes no Job.
 */
import { readGroups } from "@longshore/kubernetes/groups.ts";
import { preflight, type Row } from "@longshore/kubernetes/preflight/preflight.ts";
import { explainIn, sampleJob } from "@longshore/launcher/groups/sample-job.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import type { Finding } from "./doctor.ts";
import type { Longshore } from "../which-longshore.ts";

export async function groups({ groupsFile, installation }: Longshore, signal: AbortSignal): Promise<readonly Finding[]> {
  const each = (["launcher", "watcher"] as const).map(async (role) => {
    await using opened = await readGroups(groupsFile, {
      credential: role === "launcher" ? "launch" : "watch",
      clock: systemClock,
    });
    const rows = opened.clusters.map(async ({ name, namespace, transport, connection, pollMs }) => {
      const job = sampleJob(installation, name, namespace);
      const asked = {
        connection,
        transport,
        clock: systemClock,
        namespace,
        role,
        polls: pollMs !== undefined,
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

const STATES = { ok: "ok", warning: "WARN", failed: "FAIL", skipped: "ok" } as const;

function findingOf(group: string, role: string, { step, state, detail, code, hint }: Row): Finding {
  const says = `${role}: ${step}: ${detail}${code === undefined ? "" : `  ${code}`}`;
  return { part: group, state: STATES[state], says, ...(hint !== undefined && { todo: hint.replaceAll("<group>", group) }) };
}
