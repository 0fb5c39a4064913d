import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { claimed, groupsOf, INSTALLATION, jobName, wanted } from "@longshore/ledger/testing/conformance-parts.ts";
import { ledgerModel } from "@longshore/ledger/testing/model.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t from "tap";
import { brokerBefore, INSIDE, isSameBroker, leftBehind, noteStart, refuseOtherBroker, startCommand } from "./earlier-starts.ts";

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

t.test("knows the broker of the last start, and a changed password is no other broker", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "longshore-starts-"));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  const before = () => brokerBefore({ home, brokerFile: "broker-url", ledgerFile: "ledger-url" });
  t.equal(await before(), undefined, "nothing was started here");
  await writeFile(join(home, "ledger-url"), "postgres://a:1@127.0.0.1:5/x");
  await writeFile(join(home, "broker-url"), "postgres://a:1@127.0.0.1:5/x");
  t.equal(await before(), INSIDE);
  await writeFile(join(home, "broker-url"), "amqp://a:old@mq:5672");
  const rabbit = (await before()) ?? "";
  t.equal(isSameBroker(rabbit, "amqp://a:new@mq:5672"), true);
  t.equal(isSameBroker(rabbit, "amqp://a:new@mq:5672/"), true);
  t.equal(isSameBroker(rabbit, "amqp://a:new@mq:5672/%2F"), true);
  t.equal(isSameBroker(rabbit, "amqp://a:old@mq:5672/shop"), false);
  t.equal(isSameBroker(rabbit, "amqp://a:old@other:5672"), false);
  t.equal(isSameBroker(rabbit, INSIDE), false);
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

t.test("a start with another broker is refused while runs of the last one are open, unless a person insists", async (t) => {
  const ledger = ledgerModel({ clock: stepsClock(), installation: INSTALLATION, jobName }).connect();
  const before = "amqp://ada:secret@mq:5672/shop";
  await refuseOtherBroker(ledger, { before, isMeant: false });
  await ledger.admit([wanted("orders-1")]);
  const refused = refuseOtherBroker(ledger, { before, isMeant: false });
  await t.rejects(refused, {
    message: /such as orders-1, .*`npm start -- --broker amqp:\/\/mq:5672\/shop` goes on.*--other-broker/,
  });
  await t.rejects(refuseOtherBroker(ledger, { before: INSIDE, isMeant: false }), { message: /`npm start` goes on with them; / });
  await refuseOtherBroker(ledger, { before, isMeant: true });
});
