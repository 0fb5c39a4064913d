/**
 * Programs in place of lando-util and Calrissian, as shell scripts that take the same words. They run on this machine, in the
 * pocket: a file of the test holds a step up, or makes it fail once.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type StepType, STEP_TYPES } from "./bespin.ts";

export const LOCAL_IMAGE = "lando.example/programs:1";

export interface Levers {
  readonly commands: Readonly<Record<string, readonly string[]>>;
  /** The step waits until `go`. */
  hold(step: StepType): void;
  go(step: StepType): void;
  /** The step fails the next time that it runs. */
  fail(step: StepType): void;
  /** The file that the step was given, as the step found it. */
  given(step: "stage_data" | "organize_output" | "save_output"): unknown;
}

/** In place of kubectl, which the pocket's programs do not have: annotates the pod that $MY_POD_NAME names. */
const ANNOTATE = `const [pods, token, ...words] = process.argv.slice(2);
const annotations = Object.fromEntries(words.map((it) => it.split("=")));
const headers = { authorization: "Bearer " + token, "content-type": "application/merge-patch+json" };
const body = JSON.stringify({ metadata: { annotations } });
const { status } = await fetch(pods + process.env.MY_POD_NAME, { method: "PATCH", headers, body });
if (status !== 200) throw new Error("answered " + status);
`;

/** `folder` is one job's. `api`: the address of the namespace's pods, and a token. */
export function localPrograms(folder: string, api: { readonly pods: string; readonly token: string }): Levers {
  mkdirSync(folder, { recursive: true });
  const file = (name: string): string => path.join(folder, name);
  const lever = (word: string, step: StepType): string => file(`${word}-${step}`);
  const levers = (step: StepType): string =>
    `while [ -e '${lever("hold", step)}' ]; do sleep 0.05; done; ` +
    `if [ -e '${lever("fail", step)}' ]; then rm '${lever("fail", step)}'; echo 'no such sample'; exit 3; fi; `;
  const ids = "project_id=p-1 readme_file_id=r-1";
  const annotate = `'${process.execPath}' '${file("annotate.mjs")}' '${api.pods}' '${api.token}' ${ids}`;
  writeFileSync(file("annotate.mjs"), ANNOTATE);
  writeFileSync(file("record.sh"), levers("record_output_project") + annotate);
  const json = `'{"project_id":"p-1","readme_file_id":"r-1"}'`;
  const does: Record<StepType, string> = {
    stage_data: 'cat "$DDSCLIENT_CONF"; echo \'[]\' > "$2"; echo staged > /bespin/job-data/reads.fastq',
    run_workflow:
      "cat /bespin/job-data/reads.fastq; mkdir -p /bespin/output-data/results; echo called > /bespin/output-data/results/calls",
    organize_output: "cat /bespin/output-data/results/calls",
    save_output: `cat "$DDSCLIENT_CONF" calls; if [ "$3" = --outfile-format ]; then printf ${json} > "$2"; else cp '${file("record.sh")}' "$2"; fi`,
    record_output_project: "exit 9", // never: the step runs the script that the one before wrote
  };
  const keeps = (step: StepType): string => `case "$1" in *.json) cp "$1" '${lever("given", step)}';; esac; `;
  const commands = Object.fromEntries(
    STEP_TYPES.map((step) => [step, ["sh", "-c", `set -e; ${keeps(step)}${levers(step)}${does[step]}`, step]]),
  );
  return {
    commands: commands,
    hold: (step) => writeFileSync(lever("hold", step), ""),
    go: (step) => rmSync(lever("hold", step)),
    fail: (step) => writeFileSync(lever("fail", step), ""),
    given: (step) => JSON.parse(readFileSync(lever("given", step), "utf8")) as unknown,
  };
}
