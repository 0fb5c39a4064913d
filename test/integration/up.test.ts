/**
 * `longshore up` with everything embedded, as `npm start` starts it: a run from another terminal, and Ctrl-C, which ends every
 * process. After the next start Longshore knows every run.
 *
 * The failure this prevents: parts that are tested, and a whole that nobody has started as its users do.
 */
// runs at most 12 min
import { existsSync } from "node:fs";
import path from "node:path";
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { emptyFolder, errorsIn, longshore, longshoreStarted, longshoreUp } from "../harness/longshore.ts";
import { commandsIn } from "../harness/servers/processes.ts";
import type { Program } from "../harness/servers/program.ts";

t.setTimeout(0); // each wait of the harness has its own bound

process.env["LONGSHORE_PACE_TALLY"] = "2s"; // by default the tally runs only every two minutes
await using folder = await emptyFolder();
const running = path.join(folder.path, ".longshore/running.json");
const processes = (): Promise<readonly string[]> => commandsIn(folder.path);

async function ends(t: Tap, up: Program): Promise<void> {
  const { code, err } = await up.stop();
  t.same({ code, errors: errorsIn(err) }, { code: 0, errors: [] });
  t.notOk(existsSync(running), "no command finds it any more");
  t.same(await processes(), [], "no process is left");
}
async function until<T>(ask: () => Promise<T>, isIt: (it: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries++) {
    const it = await ask();
    if (isIt(it) || tries === 100) return it;
    await sleep(100);
  }
}
type Tap = Pick<typeof t, "match" | "same" | "notOk">;

const first = await longshoreUp(folder.path);

await t.test("a run that is published from another terminal is followed to its end", async (t) => {
  const { code, out } = await longshore(
    folder.path,
    "publish",
    "--image",
    "busybox",
    "--run",
    "first",
    "--follow",
    "--",
    "sh",
    "-c",
    "echo hi",
  );
  t.equal(code, 0, out);
  t.match(out, /accepted[\s\S]*launched[\s\S]*started[\s\S]*succeeded/);
  t.match(out, /\n {4}hi\n/, "what the program printed");
});

await t.test("a run that is published again is not run again: its story and its end are told at once", async (t) => {
  const again = ["publish", "--image", "busybox", "--run", "first", "--follow", "--", "sh", "-c"];
  const { code, out } = await longshore(folder.path, ...again, "echo hi");
  t.equal(code, 0, out);
  t.match(out, /^first\nalready ran; .*\n +# .*EVENT\n {3}1 .*accepted\n[\s\S]*succeeded[\s\S]*\n {4}hi\n/);
  t.equal(out.match(/launched/g)?.length, 1);
  const other = await longshore(folder.path, ...again, "echo other");
  t.match(other, { code: 1, out: /^first\nrefused\n {2}\/data\/run: This id belongs to a run with other content/ });
  const request = { run: "first", image: "busybox", command: ["sh", "-c", "echo hi"] };
  await writeFile(path.join(folder.path, "request.json"), JSON.stringify(request));
  const ofFile = await longshore(folder.path, "publish", "--file", "request.json", "--follow");
  t.match(ofFile, { code: 0, out: /^first\nalready ran; / }, "a file's run is the run");
});

await t.test(
  "whatever lists or shows prints JSON, too, and `runs show` says where the whole log is, and no kubectl command",
  async (t) => {
    const asked = async (...args: readonly string[]): Promise<unknown> => {
      const { code, out, err } = await longshore(folder.path, ...args, "--json");
      t.same({ code, errors: errorsIn(err) }, { code: 0, errors: [] }, args.join(" "));
      return JSON.parse(out);
    };
    t.match(await asked("runs", "list"), {
      runs: [{ run: "first", state: "ended", outcome: "succeeded", group: "pocket", endedAt: /Z$/ }],
    });
    t.match(await asked("runs", "show", "first"), {
      run: "first",
      outcome: "succeeded",
      selector: /^longshore\.dev\/run=[a-z2-7]{26}$/,
      attempts: [{ step: "main", attempt: 1, group: "pocket", job: { namespace: "default", name: /^first-/ } }],
      story: [{ sequence: 1, time: /Z$/, type: "run.accepted" }],
    });
    t.match(await asked("group", "list"), { groups: [{ name: "pocket", health: "healthy", paused: false, jobs: 0 }] });
    t.match(await asked("doctor"), { warnings: 0, failures: 0, findings: [{ part: "broker", state: "ok" }] });
    const numbers = Array.from({ length: 30 }, (_, at) => `${at + 1}\n`).join("");
    await longshore(folder.path, "publish", "--image", "busybox", "--run", "long", "--follow", "--", "seq", "30");
    const { out } = await longshore(folder.path, "runs", "show", "long");
    t.match(out, /the last 20 of 30 lines[\s\S]*^ {2}npx longshore runs logs long$/m);
    t.equal((await longshore(folder.path, "runs", "logs", "long")).out, numbers);
    t.notMatch(out, /kubectl/);
  },
);

await t.test("what each step printed outlives the pods, which go with the volume of a run that succeeded", async (t) => {
  const step = (name: string, ...needs: readonly string[]) => ({
    name,
    needs,
    image: "busybox",
    command: ["echo", `${name} is done`],
    mounts: [{ volume: "data", path: "/data" }],
  });
  const request = { run: "pipe", volumes: [{ name: "data", size: "1Gi" }], steps: [step("load"), step("sort", "load")] };
  await writeFile(path.join(folder.path, "pipe.json"), JSON.stringify(request));
  const { code, out } = await longshore(folder.path, "publish", "--file", "pipe.json", "--follow");
  t.equal(code, 0, out);
  for (const it of ["load is done", "sort is done"]) t.match(out, it);
  const logs = async (...args: readonly string[]) => (await longshore(folder.path, "runs", "logs", "pipe", ...args)).out;
  t.equal(await logs("--step", "load"), "load is done\n");
  t.equal(await logs(), "sort is done\n");
});

await t.test("the console is up: `longshore link` signs in once, and four jobs are prepared", async (t) => {
  await first.prints("one-time, 10 min");
  const { code, out } = await longshore(folder.path, "link", "--name", "Ada");
  t.equal(code, 0);
  t.match(out, /^http:\/\/127\.0\.0\.1:\d+\/enter#[\w-]{32}\n$/);
  const body = JSON.stringify({ token: new URL(out).hash.slice(1) });
  const enter = () => fetch(new URL("/v1/enter", out), { method: "POST", headers: { "content-type": "application/json" }, body });
  const entered = await enter();
  t.match(await entered.json(), { name: "Ada" });
  t.equal((await enter()).status, 403);
  const cookie = entered.headers.getSetCookie()[0]?.split(";")[0] ?? "";
  const answer: unknown = await (await fetch(new URL("/v1/definitions", out), { headers: { cookie } })).json();
  t.match(answer, { cards: [{ name: "broken" }, { name: "export" }, { name: "greet" }, { name: "slow" }] });
});

await t.test("the events of a run in the pocket name no kubectl either", async (t) => {
  await longshore(folder.path, "publish", "--image", "busybox", "--run", "fails", "--follow", "--", "false");
  const { out } = await longshore(folder.path, "runs", "show", "fails", "--json");
  t.match(out, /"hint": "Read what it printed: `longshore runs show fails`/);
  t.notMatch(out, /kubectl/);
});

await t.test(
  "logs prints what a program prints while it runs, also without a last line break, and of the attempt that follows",
  async (t) => {
    const goesOn = path.join(folder.path, "logs-go-on");
    const text = `printf 'begins\\n\\n'; until [ -e ${goesOn} ]; do sleep 0.1; done; printf ends; [ "$LONGSHORE_ATTEMPT" = 2 ]`;
    const request = {
      run: "talks",
      image: "busybox",
      command: ["sh", "-c", text],
      retries: { max: 1, on: ["failure"], backoff: { first: "1s" } },
    };
    await writeFile(path.join(folder.path, "talks.yaml"), JSON.stringify(request));
    await longshore(folder.path, "publish", "--file", "talks.yaml");
    await using logs = longshoreStarted(folder.path, "runs", "logs", "talks", "--follow");
    await logs.prints("begins\n\n");
    await writeFile(goesOn, "");
    t.match(await logs.ended, { code: 0, out: "begins\n\nends\nbegins\n\nends\n" });
    t.match(await longshore(folder.path, "runs", "logs", "talks", "--step", "nope"), {
      code: 64,
      err: /no step "nope"; it has main/,
    });
  },
);

await t.test("publish --follow shows what a program prints while it runs, once", async (t) => {
  const goesOn = path.join(folder.path, "follow-goes-on");
  const text = `echo begins; until [ -e ${goesOn} ]; do sleep 0.1; done; echo ends`;
  const args = ["publish", "--image", "busybox", "--run", "shown", "--follow", "--", "sh", "-c", text];
  await using following = longshoreStarted(folder.path, ...args);
  await following.prints("    begins\n");
  await writeFile(goesOn, "");
  const { code, out } = await following.ended;
  t.equal(code, 0, out);
  t.match(out, /started .*\n[^]*begins\n[^]*succeeded/);
  t.same(out.match(/^ {4}(begins|ends)$/gm), ["    begins", "    ends"]);
});

await t.test("without --follow it is told what became of an id that is taken, on standard error", async (t) => {
  const publish = (run: string, text: string) =>
    longshore(folder.path, "publish", "--image", "busybox", "--run", run, "--", "sh", "-c", text);
  t.match(await publish("first", "echo hi"), {
    code: 0,
    out: "first\n",
    err: /already ran: SUCCEEDED; .*\n +npx longshore runs show first\n$/,
  });
  t.match(await publish("first", "echo other"), {
    code: 1,
    out: "first\n",
    err: /refused\. This id belongs to a run with other content, which stays as it is; a new run needs a new id\./,
  });
  t.match(await publish("unfollowed", "true"), {
    code: 0,
    err: /the broker has it; once a launcher has taken it, this shows it:\n +npx longshore runs follow unfollowed\n$/,
  });
});

await t.test("the page of a run names its image and command, and a family of verbs without one shows its list", async (t) => {
  const { out } = await longshore(folder.path, "runs", "show", "first");
  t.match(out, /^ {2}image +busybox\n {2}command +sh -c 'echo hi'$/m);
  t.match(await longshore(folder.path, "runs"), { code: 0, out: /^STATE[^]* first /, err: /^$/ });
  t.match(await longshore(folder.path, "group"), {
    code: 0,
    out: /^STATE[^]* pocket /,
    err: /^$/,
  });
});

await t.test("a text that is no output is told, and the page of a pipeline shows what its steps run", async (t) => {
  const write = "{ name: write, image: busybox, command: [sh, -c, 'echo done > /dev/termination-log'] }";
  await writeFile(
    path.join(folder.path, "steps.yaml"),
    `run: two-steps\nsteps: [${write}, { name: rest, image: busybox, command: ["true"] }]\n`,
  );
  const published = await longshore(folder.path, "publish", "--file", "steps.yaml", "--follow");
  t.match(published, { code: 0, out: /succeeded +write {2}no outputs: the termination message is not one JSON object\n/ });
  const { out } = await longshore(folder.path, "runs", "show", "two-steps");
  t.match(out, /^ {2}step +write: busybox sh -c 'echo done > \/dev\/termination-log'\n {2}step +rest: busybox true$/m);
});

await t.test("Ctrl-C ends the following and not the run, and says so", async (t) => {
  const following = longshoreStarted(
    folder.path,
    "publish",
    "--image",
    "busybox",
    "--run",
    "left",
    "--follow",
    "--",
    "sleep",
    "60",
  );
  await following.prints("started");
  const { code, err } = await following.stop();
  t.match(
    { code, err },
    {
      code: 130,
      err: /stopped watching; the run goes on:\n +npx longshore runs follow left\n +npx longshore runs cancel left\n$/,
    },
  );
  const shown = await longshore(folder.path, "runs", "show", "left");
  t.match(
    shown.out,
    /\n {2}log: .*\n {2}npx longshore runs logs left\n {2}next:\n {4}npx longshore runs follow left\n {4}npx longshore runs cancel left\n$/,
  );
  t.match(await longshore(folder.path, "runs", "cancel", "left"), { code: 0, out: /cancelled/ });
});

await t.test("doctor names the run that waits for a group that is not there", async (t) => {
  await longshore(folder.path, "publish", "--image", "busybox", "--run", "homeless", "--group", "nowhere");
  const { out } = await until(
    () => longshore(folder.path, "doctor"),
    ({ out }) => !out.includes("all well"),
  );
  t.match(
    out,
    /^runs .*\n +WARN +homeless is waiting \(NoGroup\)\. nowhere: .*\n +› Correct the name: .*longshore runs cancel homeless`/m,
  );
  t.match(out, /^1 warning$/m);
  t.match(out, /^ledger +ok .*(published)/m);
  t.match(out, /^pocket +ok +watched .*\n +ok +it answers the launcher\n +ok +it answers the watcher\n/m, "in one place");
  t.same(
    [...out.matchAll(/^(\S+'s clock) /gm)].map(([, it]) => it),
    ["broker's clock", "ledger's clock"],
  );
  t.match(await longshore(folder.path, "runs", "cancel", "homeless"), { code: 0 });
});

await t.test("there is nothing to cancel of a run that has ended, and it is not asked for first", async (t) => {
  const { code, out, err } = await longshore(folder.path, "runs", "cancel", "first");
  t.match({ code, out, err }, { code: 1, out: "", err: /nothing to cancel: first has ended already \(succeeded\)/ });
});

await t.test("the end of an id, as a list shows it, is no id, and the whole one is named", async (t) => {
  t.match(await longshore(folder.path, "runs", "show", "irst"), { code: 1, err: /no run has the id irst; did you mean first\?/ });
});

await t.test("an image without a command is told once to run nothing, and looks like no other success", async (t) => {
  const { out, err } = await longshore(folder.path, "publish", "--image", "nginx", "--run", "empty", "--follow");
  t.equal(`${out}${err}`.match(/othing (will run|ran)/g)?.length, 1, `${out}${err}`);
  t.match((await longshore(folder.path, "runs", "list")).out, /^SUCCEEDED nothing ran +empty /m);
});

await t.test("a pause names the way back, and how many runs wait", async (t) => {
  t.match(await longshore(folder.path, "group", "pause", "pocket"), {
    code: 0,
    out: /^pocket is paused; .*, and no run waits\n`npx longshore group resume pocket` lets it take runs again\.\n$/,
  });
  t.match(await longshore(folder.path, "group", "resume", "pocket"), { code: 0, out: /takes runs again/ });
});

await t.test("a restart of a run that succeeded is refused with the option that would restart it", async (t) => {
  const { code, out, err } = await longshore(folder.path, "runs", "restart", "first");
  t.match(
    { code, out, err },
    {
      code: 1,
      out: "",
      err: /^longshore: every step of first succeeded\. To run them all again: `npx longshore runs restart first --from start`\n$/,
    },
  );
});

await t.test("a run that failed is started again with a correction, and succeeds", async (t) => {
  const words = ["--run", "corrected", "--env", "MODE=wrong", "--follow", "--", "sh", "-c", 'test "$MODE" = right'];
  const failed = await longshore(folder.path, "publish", "--image", "busybox", ...words);
  t.match(failed, { code: 1, out: /failed +.*ExitCode\n {2}\S.*\n {2}Hint: It printed nothing\. .*\n/ });
  t.match(failed.out, /\n {2}next:\n {4}npx longshore runs show corrected\n {4}npx longshore runs restart corrected\n$/);
  const again = await longshore(folder.path, "publish", "--image", "busybox", ...words);
  t.match(again, { code: 1, out: /already ran/ }, "asked for again, it exits by its outcome");
  const restarted = await longshore(folder.path, "runs", "restart", "corrected", "--with", "env.MODE=right");
  t.match(restarted, {
    code: 0,
    out: /^asked to restart corrected\n[\s\S]*restarted +corrected: env\.MODE\n[\s\S]*succeeded/,
  });
});

await t.test("of two that start in a fresh folder at once, one is up, and the other says who has the folder", async (t) => {
  await using fresh = await emptyFolder();
  const data = path.join(fresh.path, "elsewhere");
  const both = await Promise.allSettled([longshoreUp(fresh.path, "--data", data), longshoreUp(fresh.path, "--data", data)]);
  const ups = both.flatMap((it) => (it.status === "fulfilled" ? [it.value] : []));
  const refused = both.flatMap((it) => (it.status === "rejected" ? [String(it.reason)] : []));
  t.equal(ups.length, 1);
  // The `up` that runs prints this command, as the loop below checks.
  const list = await longshore(fresh.path, "runs", "list", "--config", path.join(data, "launcher.yaml"));
  t.match(list, { code: 0, out: "no runs\n" });
  for (const it of ups) {
    const { code, out } = await it.stop();
    t.equal(code, 0);
    t.ok(out.includes(`npm run longshore -- runs list --config ${path.join(data, "launcher.yaml")}\n`), out);
  }
  t.match(refused, [/longshore: a Longshore runs from \S+ already, as process \d+; .*--data DIR/]);
});

await t.test("a second one from the same folder is refused, and the first goes on", async (t) => {
  const { code, err } = await longshore(folder.path, "up");
  t.equal(code, 1);
  t.match(
    err,
    /a Longshore runs from \S+ already, as process (\d+); stop it first \(Ctrl-C in its terminal, or `kill \1`\), or give this one another --data DIR/,
  );
  t.ok(existsSync(running));
});

await t.test("Ctrl-C ends everything, also while a run runs", async (t) => {
  const { code } = await longshore(folder.path, "publish", "--image", "busybox", "--run", "lasting", "--", "sleep", "300");
  t.equal(code, 0);
  const shows = async (part: string): Promise<boolean> => (await processes()).some((it) => it.includes(part));
  for (let tries = 0; process.platform === "linux" && tries < 300 && !(await shows("sleep 300")); tries++) await sleep(100);
  if (process.platform === "linux") for (const part of ["sleep 300", "postgres"]) t.ok(await shows(part), `${part} runs`);
  await ends(t, first);
});

await t.test(
  "started again, it still knows what was: the run whose program was ended with the pocket is told as that",
  async (t) => {
    const second = await longshoreUp(folder.path);
    // Followed before it is listed: a start is told as soon as it takes runs, and the watcher looks after that.
    const { out: end } = await longshore(folder.path, "runs", "follow", "lasting");
    t.match(end, /failed +.*LocalStop/);
    const { out } = await longshore(folder.path, "runs", "list");
    t.match(out, /^SUCCEEDED +first /m);
    t.match(out, /^FAILED LocalStop +lasting /m);
    await ends(t, second);
  },
);
