/** What a person is told to do about a run can be done there: no blanks, no other cluster, no kubectl for the pocket. */
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Code, DIAGNOSES, filledHint } from "@longshore/contract/messages/diagnosis.ts";
import { Installation, RunId } from "@longshore/contract/ids.ts";
import { startWhy } from "@longshore/domain/diagnosis/runtime-words.ts";
import { saysWhatToDo } from "@longshore/domain/diagnosis/testing/action.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import { whyNotStarted } from "@longshore/pocket/pods/shim.ts";
import { stringify } from "yaml";
import t from "tap";
import { actorAt, hintAt, moreAt, placeOf, restOf } from "./place.ts";

const home = await mkdtemp(join(tmpdir(), "place-"));
t.teardown(() => rm(home, { recursive: true }));
const groupsFile = join(home, "groups.yaml");
const kubeconfig = join(home, "kube config");
writeFileSync(kubeconfig, "");
const groups = {
  pocket: { cluster: { server: "http://127.0.0.1:1" }, namespaces: ["default"], limits: { jobs: 1 } },
  "prod-a": { cluster: { kubeconfig: "kube config", context: "admin@prod" }, namespaces: ["batch", "web"], limits: { jobs: 1 } },
  "prod-b": { cluster: { server: "https://10.0.0.1:6443" }, namespaces: ["batch"], limits: { jobs: 1 } },
};
writeFileSync(groupsFile, stringify({ groups }));

/** A record with the fields that a place is made of. */
const recordOf = (group: string, namespace: string): RunRecord =>
  ({
    run: { id: RunId.parse("orders/1"), group },
    attempts: [{ claimNo: 1, uid: "of-the-job", group, name: "orders-1-main-1-abc", notes: { namespace } }],
  }) as never;

const at = (group: string, namespace: string, installation: string, config?: string) =>
  placeOf(recordOf(group, namespace), { groupsFile, installation: Installation.parse(installation) }, config);
const { hint } = DIAGNOSES.ExitCode;

t.test("a group's kubectl asks the group's cluster, and nothing is left blank", async (t) => {
  const place = at("prod-a/web", "web", "shop", "config/my launcher.yaml");
  t.equal(
    hintAt(place, { code: "ExitCode", hint }),
    `Read the program's log: \`kubectl --kubeconfig '${kubeconfig}' --context admin@prod -n web logs job/orders-1-main-1-abc\`; ` +
      "`longshore runs show orders/1 --config 'config/my launcher.yaml'` names both.",
  );
  const kubectl = `kubectl --kubeconfig '${kubeconfig}' --context admin@prod`;
  t.same(moreAt(place, ["web"], "a=b"), [
    `${kubectl} -n web describe job orders-1-main-1-abc`,
    `${kubectl} -n web get jobs,pods -l a=b`,
  ]);
});

t.test("nothing is to be asked about a Job that nobody has seen: a full quota refused it", async (t) => {
  const { run, attempts } = recordOf("prod-b", "batch") as RunRecord;
  const record = { run, attempts: attempts.map((it) => ({ ...it, uid: undefined })) } as never;
  const place = placeOf(record, { groupsFile, installation: Installation.parse("shop") }, undefined);
  t.same(moreAt(place, ["batch"], "a=b"), ["kubectl -n batch get jobs,pods -l a=b"]);
});

for (const code of ["DeletedExternally", "Gone"])
  t.test(`nothing is to be asked about a Job that is not there (${code})`, async (t) => {
    const { run, attempts } = recordOf("prod-b", "batch") as RunRecord;
    const record = { run, attempts: attempts.map((it) => ({ ...it, outcome: { diagnosis: { code } } })) } as never;
    const place = placeOf(record, { groupsFile, installation: Installation.parse("shop") }, undefined);
    t.same(moreAt(place, ["batch"], "a=b"), ["kubectl -n batch get jobs,pods -l a=b"]);
    t.equal(restOf(place), undefined);
  });

t.test("a hint from an event names its Job already, and still asks the group's cluster and this Longshore", async (t) => {
  const place = at("prod-a/web", "web", "shop", "launcher.yaml");
  const kubectl = `kubectl --kubeconfig '${kubeconfig}' --context admin@prod`;
  const filled = filledHint(hint, { run: "orders/1", namespace: "web", job: "of-another-step" });
  const log = `Read the program's log: \`${kubectl} -n web logs job/of-another-step\``;
  t.equal(
    hintAt(place, { code: "ExitCode", hint: filled }),
    `${log}; \`longshore runs show orders/1 --config launcher.yaml\` names both.`,
  );
  t.equal(hintAt(place, { code: "ExitCode", hint: filled }, { log: { state: "partial", tail: "hi" } }), `${log}.`);
});

t.test("beside the log, a hint does not send its reader to the same page, and the command for the log stands once", async (t) => {
  const place = at("prod-b", "batch", "shop");
  const long = { state: "complete", tail: "hi\n".repeat(21) };
  const told = hintAt(place, { code: "ExitCode", hint }, { log: long });
  t.equal(told, "Read the program's log: `kubectl -n batch logs job/orders-1-main-1-abc`.");
  t.equal(restOf(place, told), undefined);
  t.equal(restOf(place), "kubectl -n batch logs job/orders-1-main-1-abc");
});

t.test("beside the whole log, a hint names no command that prints the same once more", async (t) => {
  const told = hintAt(at("prod-b", "batch", "shop"), { code: "ExitCode", hint }, { log: { state: "complete", tail: "hi" } });
  t.equal(told, "What it printed may say why; all of it stands here.");
});

t.test("a group that is named by an address gives kubectl no cluster, and a groups file that is gone harms nobody", async (t) => {
  const want =
    "Read the program's log: `kubectl -n batch logs job/orders-1-main-1-abc`; `longshore runs show orders/1` names both.";
  t.equal(hintAt(at("prod-b", "batch", "shop"), { code: "ExitCode", hint }), want);
  const gone = placeOf(
    recordOf("prod-a", "batch"),
    { groupsFile: "/nowhere", installation: Installation.parse("shop") },
    undefined,
  );
  t.equal(hintAt(gone, { code: "ExitCode", hint }), want);
  t.match(at("pocket", "default", "shop"), { kubectl: "kubectl" }, "a group of that name elsewhere is no pocket");
});

for (const code of Object.keys(DIAGNOSES) as Code[])
  t.test(`in the pocket, the hint of ${code} names no cluster`, async (t) => {
    const told = hintAt(at("pocket", "default", "local"), { code, hint: DIAGNOSES[code].hint });
    t.notMatch(told, /kubectl|cluster's people|<(run|job|namespace)>/);
    t.ok(saysWhatToDo(told), told);
  });

for (const program of ["nosuchprogram", "/nope/x", "/usr", "/etc/passwd"])
  t.test(`in the pocket, a program that cannot be started (${program}) is not tried again, and no image is blamed`, async (t) => {
    const { isLasting, hint = DIAGNOSES.StartError.hint, why } = startWhy(whyNotStarted(program, "/usr/bin", "/") ?? "");
    t.equal(isLasting, true);
    t.match(hintAt(at("pocket", "default", "local"), { code: "StartError", hint }), "heck the command's name");
    t.notMatch(`${hint} ${why}`, /image|processor/);
  });

t.test("in the pocket, the log's file is named as long as it is there, and whoever sits there must act", async (t) => {
  t.same(moreAt(at("pocket", "default", "local"), ["default"], "a=b"), []);
  const main = join(home, "pocket/pods/orders-1-main-1-abc-x2b9z_uid-1/main");
  mkdirSync(main, { recursive: true });
  writeFileSync(join(main, "log"), "hi\n");
  const place = at("pocket", "default", "local");
  t.same(moreAt(place, ["default"], "a=b"), []);
  t.match(restOf(place), /^longshore runs logs \S+$/);
  t.match(hintAt(place, { code: "ExitCode", hint }), /`longshore runs logs \S+` all/);
  t.notMatch(
    hintAt(place, { code: "ExitCode", hint }, { log: { state: "complete", tail: "hi" } }),
    /log|runs show/,
    "the screen shows the log already",
  );
  t.equal(actorAt(place, "cluster"), "needs you");
  t.equal(actorAt(at("prod-b", "batch", "shop"), "cluster"), "needs the cluster's people");
});

t.test(
  "of a program that printed nothing, a hint says so and names no file; on the run's page, no hint names the page",
  async (t) => {
    const silent = { log: { state: "complete", tail: "" } };
    t.match(
      hintAt(at("pocket", "default", "local"), { code: "ExitCode", hint }, silent),
      /^It printed nothing\. Try its command/,
    );
    t.equal(hintAt(at("prod-b", "batch", "shop"), { code: "ExitCode", hint }, silent), "It printed nothing.");
    for (const group of ["pocket", "prod-b"])
      for (const code of Object.keys(DIAGNOSES) as Code[]) {
        const place = at(group, "batch", group === "pocket" ? "local" : "shop");
        t.notMatch(hintAt(place, { code, hint: DIAGNOSES[code].hint }, { isOnPage: true }), /runs show/, `${group} ${code}`);
      }
  },
);
