/**
 * `longshore up` in one folder, first with the pocket, then with a kubeconfig, and back.
 *
 * The failure this prevents: runs of the group that was served before stay active, nobody acts on them, and neither the start nor
 * `group list` nor `doctor` says so.
 */
// runs at most 6 min
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { authority, serverCertificate, serverKey } from "@longshore/kubernetes/testing/certificates.ts";
import { startPocket } from "@longshore/pocket/start.ts";
import t from "tap";
import { emptyFolder, longshore, longshoreUp } from "../harness/longshore.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using folder = await emptyFolder();
const tls = { key: serverKey, cert: serverCertificate };
await using cloud = await startPocket({ dataDir: path.join(folder.path, "cloud"), tls });
const kubeconfig = path.join(folder.path, "kube config");
await writeFile(
  kubeconfig,
  JSON.stringify({
    "current-context": "cloud",
    contexts: [{ name: "cloud", context: { cluster: "c", user: "u" } }],
    clusters: [{ name: "c", cluster: { server: cloud.url, "certificate-authority-data": btoa(authority) } }],
    users: [{ name: "u", user: { token: cloud.token } }],
  }),
);
const ELSEWHERE = ["--kubeconfig", kubeconfig, "--context", "cloud", "--namespace", "default"];
const TO_CLOUD = `npm start -- --kubeconfig '${kubeconfig}' --context cloud --namespace default`;

const publish = (run: string) => longshore(folder.path, "publish", "--image", "busybox", "--run", run, "--", "sleep", "300");
async function launched(run: string): Promise<void> {
  for (;;) {
    const { out } = await longshore(folder.path, "runs", "show", run, "--json");
    if (/"type": "run.started"/.test(out)) return;
  }
}

{
  await using up = await longshoreUp(folder.path);
  t.notMatch((await said(up)).out, /Nobody acts/, "a fresh start leaves nothing");
}

async function said(up: Awaited<ReturnType<typeof longshoreUp>>, during: () => Promise<void> = async () => {}) {
  await during();
  return await up.stop();
}

await t.test(
  "with the pocket, then with a kubeconfig: the start names the runs that it leaves, and the command to go back",
  async (t) => {
    await using pocket = await longshoreUp(folder.path);
    await publish("in/the-pocket");
    await launched("in/the-pocket");
    await pocket.stop();

    await using up = await longshoreUp(folder.path, ...ELSEWHERE);
    await publish("in/the-cloud");
    await launched("in/the-cloud");
    const list = await longshore(folder.path, "group", "list");
    t.match(list.out, /^UNSERVED +pocket .* 1 of 20 [\s\S]*no launcher has it in its groups file[\s\S]*start `npm start`/m);
    t.match(list.out, /^(HEALTHY|UNKNOWN) +cloud /m);
    t.notMatch(list.out, /HEALTHY +pocket/, "though it was served and watched a moment ago");
    const { out: groups } = await longshore(folder.path, "group", "list", "--json");
    t.match(JSON.parse(groups), {
      groups: [
        { name: "pocket", served: false, state: "unserved" },
        { name: "cloud", served: true },
      ],
    });
    const doctor = await longshore(folder.path, "doctor");
    t.match(doctor.out, /^pocket +FAIL +no launcher has it in its groups file, and 1 Job is there\n.*`npm start`/m);
    t.notMatch(doctor.out, /pocket +ok/);
    t.equal(doctor.code, 1);

    const { out } = await up.stop();
    t.match(out, /Nobody acts on this run: this start does not serve the group pocket/);
    t.match(out, /\n {4}in\/the-pocket\n[\s\S]*\n {4}npm start\n[\s\S]*runs abandon in\/the-pocket --yes\n/);
  },
);

await t.test("and back: the runs on the real cluster are named, and the command that serves them can be pasted", async (t) => {
  await using up = await longshoreUp(folder.path);
  const list = await longshore(folder.path, "group", "list");
  t.match(list.out, /^UNSERVED +cloud /m);
  t.ok(list.out.includes(TO_CLOUD), list.out);
  const { out } = await up.stop();
  t.match(out, /Nobody acts on this run: this start does not serve the group cloud[\s\S]*\n {4}in\/the-cloud\n/);
  t.ok(out.includes(`\n    ${TO_CLOUD}\n`), out);
  t.notMatch(out, /in\/the-pocket/, "the pocket is served again");
});
