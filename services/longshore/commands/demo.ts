/** `longshore demo`: a story in the terminal. Every number printed is read back from the ledger, the cluster or the processes. */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, type Surroundings } from "../command.ts";
import { HOME_MODE } from "../embedded/home.ts";
import { openStage, type Stage } from "../embedded/demo-stage.ts";
import { span } from "../terminal.ts";

export const demo = command({
  name: "demo",
  summary: "a story in the terminal, with everything embedded",
  usage: [""],
  options: {},
  more: `
It takes about half a minute; nothing is installed or left behind. It starts a Postgres, a pocket cluster (commands as local processes), two launchers and a watcher as processes of their own. It turns a message into a Job and a story, sends the message again, asks for an image that does not exist, and kills a launcher at the worst moment.

Exit 0: everything happened as it should. Exit 1: it did not.`,
  async run(_, __, surroundings) {
    const home = await mkdtemp(join(tmpdir(), "longshore-demo-"));
    await chmod(home, HOME_MODE);
    try {
      surroundings.out(
        "longshore demo. Real: Postgres, launcher ×2, watcher. The pocket cluster runs commands as local processes; it pulls no images.\n",
      );
      await using stage = await openStage(home, surroundings);
      return await tell(stage, surroundings);
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  },
});

const greet = { image: "demo/greet:1", command: ["sh", "-c", `printf '{"greeting":"hi"}' > /dev/termination-log`] };

async function tell(stage: Stage, { out }: Surroundings): Promise<number> {
  out("1 One message, one Job\n");
  const first = await stage.run("demo/greet", greet);
  out(`    ${first.words}    ${span(first.ms)}\n`);

  out("2 The same message five more times\n");
  const before = await stage.duplicates();
  for (let n = 0; n < 5; n++) await stage.publish("demo/greet", greet);
  const absorbed = await stage.untilDuplicates(before + 5);
  out(
    `    ${await stage.runsLike("demo/greet")} run, ${await stage.jobsLike("demo-greet")} Job, ${absorbed - before} duplicates absorbed\n`,
  );

  out("4 A bad image\n");
  const bad = await stage.run("demo/nope", { image: "registry.invalid/demo/nope:1" }, (event) => {
    if (event.type === "run.stalled")
      out(`    stalled after ${span(event.ms)}: ${event.diagnosis?.code}, "${event.diagnosis?.sentence}"\n`);
  });
  const ran = bad.started === "no" ? "nothing ran, safe to publish again" : `started: ${bad.started}`;
  out(`    ${bad.outcome} after ${span(bad.ms)} (2 min outside the demo), ${ran}\n`);

  out("5 kill -9 of launcher 1 between create and record\n");
  const killed = await stage.killBetweenCreateAndRecord("demo/survivor", greet);
  out(
    `    launcher 2 adopted the Job after ${span(killed.adoptedAfterMs)}: ${killed.outcome}, ${killed.jobs === 1 ? "still 1 Job" : `${killed.jobs} Jobs`}\n`,
  );

  const sum = await stage.sum();
  out(`  ${sum.runs} runs  ${sum.jobs} Jobs  ${sum.duplicateJobs} duplicate Jobs  ${sum.unaccounted} unaccounted\n`);
  const asItShould =
    first.outcome === "succeeded" &&
    bad.outcome === "failed" &&
    killed.outcome === "succeeded" &&
    killed.jobs === 1 &&
    sum.duplicateJobs === 0 &&
    sum.unaccounted === 0;
  return asItShould ? 0 : 1;
}
