import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { claimed, groupsOf, INSTALLATION, jobName, wanted } from "@longshore/ledger/testing/conformance-parts.ts";
import { ledgerModel } from "@longshore/ledger/testing/model.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t from "tap";
import { leftBehind, noteStart, startCommand } from "./earlier-starts.ts";

t.equal(startCommand([]), "npm start");
t.equal(
  startCommand(["--kubeconfig", "/home/Ada L/.kube/config", "--context", "it's mine"]),
  String.raw`npm start -- --kubeconfig '/home/Ada L/.kube/config' --context 'it'\''s mine'`,
  "a shell reads the same words again",
);

t.test("remembers how each group was served, and the last way counts", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "longshore-starts-"));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  t.same(await noteStart(home, "pocket", []), { pocket: [] });
  await noteStart(home, "prod", ["--kubeconfig", "old"]);
  t.same(await noteStart(home, "prod", ["--kubeconfig", "new"]), { pocket: [], prod: ["--kubeconfig", "new"] });
  await writeFile(join(home, "starts.json"), '{"pocket":');
  t.same(await noteStart(home, "pocket", []), { pocket: [] }, "a file that a full disk cut off is begun anew");
});

for (const { name, isOwnLedger } of [
  { name: "in a ledger of its own, the other groups take nothing from now on", isOwnLedger: true },
  { name: "in a ledger that others use, another launcher may serve them", isOwnLedger: false },
])
  t.test(name, async (t) => {
    const ledger = ledgerModel({ clock: stepsClock(), installation: INSTALLATION, jobName }).connect();
    await ledger.putGroups(groupsOf(20, 20));
    const runs = Array.from({ length: 12 }, (_, at) => `r${at}`);
    await claimed(
      ledger,
      runs.map((run) => wanted(run)),
    );
    const [first, second] = await ledger.groups();
    const left = await leftBehind(ledger, { serves: second?.name ?? "", isOwnLedger });
    t.match(left, [{ group: first?.name, more: true }], "only the group that is not served");
    t.equal(left[0]?.runs.length, 10, "as many runs are named as a screen holds");
    const served = (await ledger.groups()).map(({ servedAtMs }) => servedAtMs !== undefined);
    t.same(served, [!isOwnLedger, true]);
  });
