/**
 * `longshore doctor` on each group: preflight with both of its credentials, and a Job created as a dry run.
 *
 * The failure this prevents: a group that passes every check and still takes no Job.
 */
import { madeIn } from "@longshore/contract/group-settings.ts";
import { readUsableGroups } from "@longshore/kubernetes/groups.ts";
import { preflight, type Row } from "@longshore/kubernetes/preflight/preflight.ts";
import { explainIn, sampleJob } from "@longshore/launcher/groups/sample-job.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { ConfigProblems } from "@longshore/runtime/config/config.ts";
import { isPocket } from "../../place.ts";
import type { Finding } from "./doctor.ts";
import type { Longshore } from "../../which-longshore.ts";

/** A groups file that says nothing is one line of the page. */
export async function groups(of: Of, signal: AbortSignal): Promise<readonly Finding[]> {
  try {
    return await eachGroup(of, signal);
  } catch (error) {
    if (!(error instanceof ConfigProblems)) throw error;
    return error.problems.map((it) => unusableIn("groups", it));
  }
}

interface Of extends Pick<Longshore, "groupsFile" | "installation"> {
  /** Whose credentials are asked with: both, unless it says so. */
  readonly roles?: readonly ("launcher" | "watcher")[];
}

async function eachGroup(
  { groupsFile, installation, roles = ["launcher", "watcher"] }: Of,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const each = roles.map(async (role) => {
    await using opened = await readUsableGroups(groupsFile, {
      credential: role === "launcher" ? "launch" : "watch",
      clock: systemClock,
    });
    const rows = opened.clusters.map(async ({ name, namespace, settings, transport, connection, tokenFile, pollMs }) => {
      const job = sampleJob(installation, name, namespace);
      const asked = {
        connection,
        transport,
        clock: systemClock,
        namespace,
        role,
        tokenFile,
        polls: pollMs !== undefined,
        made: madeIn(settings),
        manifest: job,
        explain: explainIn(name, namespace),
      };
      const found = await preflight(asked, signal);
      const told = found
        .filter(({ state }) => state !== "skipped")
        .map((row) => (isPocket(installation, name) ? ofPocket(row) : row));
      const isWell = isPocket(installation, name) && told.every(({ state }) => state === "ok");
      if (isWell) return [{ part: name, state: "ok", says: `it answers the ${role}` } as const];
      return told.map((row) => findingOf({ name, namespace }, role, row));
    });
    const unusable = opened.unusable.flatMap(({ name, problems }) => problems.map((it) => unusableIn(name, `${role}: ${it}`)));
    return [...unusable, ...(await Promise.all(rows)).flat()];
  });
  const findings = (await Promise.all(each)).flat();
  if (findings.length === 0) return [noGroup(groupsFile)];
  return findings.toSorted((a, b) => (a.part < b.part ? -1 : a.part > b.part ? 1 : 0));
}

const unusableIn = (part: string, says: string): Finding => ({
  part,
  state: "FAIL",
  says,
  todo: "mend it: launchers and watchers that run go on with what they read before, and none starts",
});

const noGroup = (groupsFile: string): Finding => ({
  part: "groups",
  state: "WARN",
  says: `${groupsFile} has no group, so every run waits`,
  todo: "make the first one there; deploy/README.md says how",
});

/**
 * The pocket serves this machine alone and has neither TLS nor roles: nobody could act on a warning about that. If it does not
 * answer, no address, firewall or token of a cluster is to be mended.
 */
function ofPocket(row: Row): Row {
  if (row.state === "failed") return { ...row, hint: "Start it again in its folder: longshore up." };
  if (row.state !== "warning" || (row.step !== "network" && row.step !== "permissions")) return row;
  const detail = row.step === "network" ? "on this machine alone, without TLS" : "the pocket cluster has no roles";
  const { hint: _, ...rest } = row;
  return { ...rest, state: "ok", detail };
}

const STATES = { ok: "ok", warning: "WARN", failed: "FAIL", skipped: "ok" } as const;

function findingOf(
  { name, namespace }: { readonly name: string; readonly namespace: string },
  role: string,
  { step, state, detail, code, hint }: Row,
): Finding {
  const says = `${role}: ${step}: ${detail}${code === undefined ? "" : `  ${code}`}`;
  const todo = hint?.replaceAll("<group>", name).replaceAll("<namespace>", namespace);
  return { part: name, state: STATES[state], says, ...(todo !== undefined && { todo }) };
}
