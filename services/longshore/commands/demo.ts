/** `longshore demo`: a story in the terminal. Every number printed is read back from the ledger, the cluster or the processes. */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { untilAborted } from "@longshore/runtime/clock.ts";
import { command, during, say, screenIn, type Surroundings } from "../command.ts";
import { HOME_MODE } from "../embedded/home.ts";
import { openStage, type Stage } from "../embedded/demo-stage.ts";
import { linkLines } from "./link.ts";
import { paragraph } from "../screen/rows.ts";
import { toned } from "../screen/screen.ts";
import { span } from "../screen/times.ts";

export const demo = command({
  name: "demo",
  summary: "a story in the terminal, with everything embedded",
  usage: [""],
  options: {},
  more: `
It takes about half a minute; nothing is installed or left behind. It starts a Postgres, a pocket cluster (commands as local processes), two launchers and a watcher as processes of their own, and a web console. It turns a message into a Job and a story, sends the message again, runs five steps on one volume, asks for an image that does not exist, and kills a launcher at the worst moment. Then, on a terminal, it prints a link to the console and waits for Ctrl-C; elsewhere it reads its runs back from the console.

Exit 0: everything happened as it should. Exit 1: it did not.`,
  async run(_, __, surroundings) {
    const home = await mkdtemp(join(tmpdir(), "longshore-demo-"));
    await chmod(home, HOME_MODE);
    try {
      const what =
        "longshore demo. Real: Postgres, launcher ×2, watcher, console. The pocket cluster runs commands as local processes; it pulls no images.";
      say(surroundings, paragraph(what, {}, screenIn(surroundings)));
      await using stage = await openStage(home, surroundings);
      // Somebody has to see the link and to press Ctrl-C, or the demo would wait for ever.
      const isWatched = screenIn(surroundings).columns !== undefined && process.stdin.isTTY;
      return await tell(stage, isWatched, surroundings);
    } finally {
      await rm(home, { recursive: true, force: true });
      if (surroundings.signal.aborted) surroundings.note?.("stopped; nothing is left behind.");
    }
  },
});

const greet = { image: "demo/greet:1", command: ["sh", "-c", `printf '{"greeting":"hi"}' > /dev/termination-log`] };

const five = pipeline([
  ["stage-data", "printf '%s\\n' wheat barley maize > /data/in"],
  ["run-workflow", "sort /data/in > /data/sorted"],
  ["organize-output", "mkdir /data/results; mv /data/sorted /data/results/first"],
  ["save-output", "head -n 1 /data/results/first > /data/saved"],
  ["record-output", `printf '{"first":"%s"}' "$(cat /data/saved)" > /dev/termination-log`],
]);

/** Each step begins when the one before it has succeeded. All mount the same volume. */
function pipeline(programs: readonly (readonly [step: string, program: string])[]) {
  const steps = programs.map(([name, program], at) => ({
    name,
    image: `demo/${name}:1`,
    command: ["sh", "-ec", program],
    needs: programs.slice(Math.max(0, at - 1), at).map(([before]) => before),
    mounts: [{ volume: "data", path: "/data" }],
  }));
  return { volumes: [{ name: "data", size: "1Mi" }], steps };
}

async function tell(stage: Stage, isWatched: boolean, surroundings: Surroundings): Promise<number> {
  const screen = screenIn(surroundings);
  const title = (text: string) => say(surroundings, paragraph(text, { tone: "strong" }, screen));
  const told = (text: string) => say(surroundings, paragraph(text, { indent: 4 }, screen));
  const waiting = <T>(what: string, work: () => Promise<T>) => during(surroundings, what, work);

  title("1 One message, one Job");
  const first = await waiting("waiting for the run's end", () => stage.run("demo/greet", greet));
  told(`${first.words}    ${span(first.ms)}`);

  title("2 The same message five more times");
  const before = await stage.duplicates();
  for (let n = 0; n < 5; n++) await stage.publish("demo/greet", greet);
  const absorbed = await waiting("waiting for the launchers to take them", () => stage.untilDuplicates(before + 5));
  told(
    `${await stage.runsLike("demo/greet")} run, ${await stage.jobsLike("demo-greet")} Job, ${absorbed - before} duplicates absorbed`,
  );

  title("3 Five steps sharing a volume");
  const done: string[] = [];
  const shared = await waiting("waiting for the last step", () =>
    stage.run("demo/five", five, ({ type, data }) => {
      if (type === "run.step.succeeded") done.push(`${String(data["step"])} ✓`);
    }),
  );
  told(`${done.join(" ")}    ${span(shared.ms)}`);
  const volumes = await waiting("waiting until the volume is gone", () => stage.untilVolumesGone());
  told(`${shared.words.split(" › ").at(-1)}; ${volumes.made} volume made, ${volumes.left} left`);

  title("4 A bad image");
  const bad = await waiting("waiting until it is given up", () =>
    stage.run("demo/nope", { image: "registry.invalid/demo/nope:1" }, (event) => {
      if (event.type === "run.stalled")
        told(`stalled after ${span(event.ms)}: ${event.diagnosis?.code}, "${event.diagnosis?.sentence}"`);
    }),
  );
  const ran = bad.started === "no" ? "nothing ran: restart it, or publish it under a new id" : `started: ${bad.started}`;
  told(`${bad.outcome} after ${span(bad.ms)} (2 min outside the demo), ${ran}`);

  title("5 kill -9 of launcher 1 between create and record");
  const killed = await waiting("starting the launcher that dies, and waiting for launcher 2", () =>
    stage.killBetweenCreateAndRecord("demo/survivor", greet),
  );
  told(
    `launcher 2 adopted the Job after ${span(killed.adoptedAfterMs)}: ${killed.outcome}, ${killed.jobs === 1 ? "still 1 Job" : `${killed.jobs} Jobs`}`,
  );

  const sum = await waiting("waiting until nothing is left to do", () => stage.sum());
  const shown = await waiting("reading the runs back from the console", () => stage.console.states());
  const asItShould =
    first.outcome === "succeeded" &&
    shared.outcome === "succeeded" &&
    done.length === five.steps.length &&
    volumes.made === five.volumes.length &&
    volumes.left === 0 &&
    bad.outcome === "failed" &&
    killed.outcome === "succeeded" &&
    killed.jobs === 1 &&
    shown.length === sum.runs &&
    sum.duplicateJobs === 0 &&
    sum.unaccounted === 0;
  const verdict = `${sum.runs} runs  ${sum.jobs} Jobs  ${sum.duplicateJobs} duplicate Jobs  ${sum.unaccounted} unaccounted`;
  const { tone } = toned(asItShould ? "ok" : "fail");
  say(surroundings, paragraph(verdict, { indent: 2, tone }, screen));
  const next = "Next: `npm start` leaves a Longshore running in this folder, for runs of your own.";
  say(surroundings, paragraph(shownWords(shown), { indent: 2 }, screen));
  if (asItShould) say(surroundings, paragraph(next, { indent: 2 }, screen));
  if (asItShould && isWatched) await untilSeen(stage, surroundings);
  return asItShould ? 0 : 1;
}

/** "the console shows 4 runs: 3 succeeded, 1 failed". */
function shownWords(states: readonly string[]): string {
  const counts = [...Map.groupBy(states.toSorted(), (it) => it)].map(([state, all]) => `${all.length} ${state}`);
  return `the console shows ${states.length} runs: ${counts.join(", ")}`;
}

async function untilSeen(stage: Stage, surroundings: Surroundings): Promise<void> {
  const { signal } = surroundings;
  say(surroundings, linkLines(await stage.console.link()));
  say(surroundings, paragraph("Ctrl-C ends it, and leaves nothing behind.", { indent: 2 }, screenIn(surroundings)));
  await untilAborted(signal);
}
