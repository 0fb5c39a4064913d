/** The lines that the programs inside `up` write beside its screen. */
import t from "tap";
import { PIPE } from "../screen/screen.ts";
import { programLog } from "./program-log.ts";

function logOf(name: "launcher" | "watcher", columns?: number) {
  const lines: string[] = [];
  const screen = { ...PIPE, columns };
  return {
    lines,
    log: programLog(name, { level: "warn", format: "auto" }, { write: (text) => lines.push(text), screen, where: " --config x" }),
  };
}

t.test("the watcher leaves the failures of runs to the launcher, and tells all else", async (t) => {
  const { log, lines } = logOf("watcher");
  const told = log.child({ group: "pocket" });
  told.warn("attempt.failed", { run: "a" });
  told.warn("a fact could not be published yet", { run: "a" });
  t.equal(lines.length, 1);
  t.match(JSON.parse(lines[0] ?? ""), { msg: "a fact could not be published yet", group: "pocket", run: "a" });
  const launcher = logOf("launcher");
  launcher.log.warn("attempt.failed");
  t.equal(launcher.lines.length, 1);
});

t.test("in a terminal a line is folded at its words, beneath its time", async (t) => {
  const { log, lines } = logOf("launcher", 60);
  log.warn("the broker is away", { error: "The broker at 127.0.0.1:5672 refused the connection for 2 seconds." });
  const [first = "", ...more] = lines.join("").trimEnd().split("\n");
  t.match(first, /^\d\d:\d\d:\d\d\.\d{3}Z warn {2}launcher {2}the broker is away {2}error="The$/);
  t.same(more, [`${" ".repeat(14)}broker at 127.0.0.1:5672 refused the`, `${" ".repeat(14)}connection for 2 seconds."`]);
});

t.test("in a terminal a run's trouble reads as on the other screens, with the command that shows more", async (t) => {
  const { log, lines } = logOf("launcher", 60);
  const sentence = "The program ended with exit code 3, after it had run for 2 seconds.";
  const fields = { run: "orders/1", step: "main", attempt: 1, group: "pocket", code: "ExitCode", sentence };
  log.child({ group: "pocket" }).warn("run.attempt.failed", { ...fields, nextAttemptAt: "2030-01-01T09:08:07Z" });
  log.warn("run.failed", fields);
  const said = lines.join("").trimEnd().split("\n");
  t.match(said, [
    /^\d\d:\d\d:\d\dZ {2}ATTEMPT FAILED ExitCode {2}orders\/1$/,
    "           The program ended with exit code 3, after it had",
    "           run for 2 seconds. It is tried again at",
    "           2030-01-01 09:08:07Z.",
    "           longshore runs show orders/1 --config x",
    /^\d\d:\d\d:\d\dZ {2}FAILED ExitCode {2}orders\/1$/,
    "           The program ended with exit code 3, after it had",
    "           run for 2 seconds.",
    "           longshore runs show orders/1 --config x",
  ]);
  const waiting = logOf("launcher", 60);
  waiting.log.info("run.waiting", { ...fields, code: "GroupsPaused", sentence: "pocket: It is paused." });
  t.match(waiting.lines.join(""), /WAITING GroupsPaused {2}orders\/1\n +pocket: It is paused\.\n +longshore runs show/);
  const piped = logOf("launcher");
  piped.log.warn("run.failed", fields);
  t.match(JSON.parse(piped.lines[0] ?? ""), { msg: "run.failed", ...fields });
});

t.test("in a terminal a broker that goes and comes back is told once each, and that runs go on", async (t) => {
  const { log, lines } = logOf("watcher", 60);
  const unpublished = () => log.warn("a fact could not be published yet", { error: "RabbitMQ did not confirm the message." });
  for (let times = 0; times < 5; times++) unpublished();
  t.equal(lines.splice(0).length, 1, "of a broker that is silent, once a minute");
  const of = (purpose: string) => ({ broker: "rabbitmq", purpose, error: new Error("the connection was reset") });
  for (const purpose of ["publish", "receive"]) log.warn("lost the connection to the broker", of(purpose));
  for (let times = 0; times < 30; times++) unpublished();
  t.match(lines.splice(0).join("").trimEnd().split("\n"), [
    /^\d\d:\d\d:\d\dZ {2}BROKER AWAY {2}watcher$/,
    "           the connection was reset. Runs go on; it connects",
    "           again by itself, and what cannot be sent now is",
    "           sent then.",
  ]);
  log.info("connected to the broker again", of("receive"));
  t.same(lines, [], "while one of its connections is away");
  log.info("connected to the broker again", of("publish"));
  t.match(lines, [/BROKER BACK {2}watcher\n {11}It is connected again, and what waited is sent\.\n/]);
});

t.test("in a terminal a refused request is told with its sender and all its problems, at most ten in a minute", async (t) => {
  const { log, lines } = logOf("launcher", 60);
  const problems = [
    { path: "/data/image", code: "RequestInvalid", message: "The image is missing." },
    { path: "/data/memory", code: "RequestInvalid", message: "512 has no unit;\u001b[2J did you mean 512Mi?" },
  ];
  log.info("command.refused", { run: "v/5", source: "/shop/orders", command: "c", problems });
  t.match(lines.join("").trimEnd().split("\n"), [
    /^\d\d:\d\d:\d\dZ {2}REFUSED {2}v\/5 from \/shop\/orders$/,
    "           /data/image: The image is missing.",
    "           /data/memory: 512 has no unit;",
  ]);
  t.notOk(lines.join("").includes("\u001b"), "a sender cannot clear the screen");
  for (let more = 0; more < 30; more++) log.info("command.refused", { source: "/shop", command: `c${more}`, problems: [] });
  t.equal(lines.length, 11);
  t.match(lines[9], /REFUSED {2}message "c8" from \/shop/);
  t.match(lines[10], /more is refused/);
});

t.test(
  "in a terminal a message that nobody could read is told in words, with the command that says how to read it",
  async (t) => {
    const { log, lines } = logOf("launcher", 60);
    const problems = [{ path: "/source", code: "OutOfRange", message: "A message's source is not empty." }];
    log.warn("a message was put into quarantine", { queue: "commands", problems });
    t.match(lines.join("").trimEnd().split("\n"), [
      /^\d\d:\d\d:\d\dZ {2}QUARANTINED {2}a message$/,
      "           /source: A message's source is not empty.",
      "           longshore doctor --config x",
    ]);
    log.warn("a message was put into quarantine", { queue: "commands", command: "nul id/1", source: "/shop", problems: [] });
    t.match(lines.at(-1), /QUARANTINED {2}message "nul id\/1" from \/shop\n +longshore doctor --config x/, "as far as it tells");
  },
);
