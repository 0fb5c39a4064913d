/**
 * Admission webhooks that are out of order, or that strip our hold, under a whole Longshore (fault 26 in GUARANTEES.md). Each
 * waiting run says what it waits for and goes on by itself when the webhook is mended; no outcome is lost.
 */
// needs kubernetes
// runs with kube
import { HOLD } from "@longshore/domain/run/marks.ts";
import t from "tap";
import { found, adminOf, jobPath, only, plainJob, type Shown } from "../../harness/kubernetes/admin.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { annotated } from "../../harness/kubernetes/simulated-pods.ts";
import { openSystem } from "../../harness/system.ts";
import { startWebhook, type Verdict, webhookConfiguration } from "../../harness/faults/webhook.ts";

t.setTimeout(0);
await using test = await kubernetes({ nodes: "simulated" });
const cluster = only(test.clusters);
const admin = adminOf(cluster.admin);
await using system = await openSystem({ clusters: [cluster] });
await using launcher = await system.launcher();
await using _watcher = await system.watcher();
const { namespace } = system.site;

const step = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
const ask = (run: string, runsFor?: string): Promise<void> =>
  system.command("run.requested", { run, ...step, ...(runsFor !== undefined && annotated({ runsFor })) });

async function configured(
  kind: "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
  judge: () => Verdict,
): Promise<AsyncDisposable> {
  await using parts = new AsyncDisposableStack();
  const webhook = parts.use(await startWebhook(judge));
  const path = `/apis/admissionregistration.k8s.io/v1/${kind.toLowerCase()}s`;
  const { metadata } = await admin.must(
    "POST",
    path,
    webhookConfiguration(kind, "images.example.com", webhook, { namespace, resource: "jobs" }),
  );
  parts.defer(async () => void (await admin.must("DELETE", `${path}/${metadata.name}`)));
  const probe = { method: "POST", path: `${jobPath(namespace)}?dryRun=All`, body: plainJob("probe", namespace) } as const;
  await found("the webhook to be asked", async () => {
    await admin.ask(probe);
    return webhook.asked.length > 0;
  });
  const kept = parts.move();
  return { [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

const sentenceOf = (data: unknown): string =>
  (data as { readonly diagnosis?: { readonly sentence: string } }).diagnosis?.sentence ?? "";

const jobOf = async (run: string): Promise<Shown | undefined> =>
  (await admin.items(jobPath(namespace))).find(
    ({ metadata }) => (metadata["annotations"] as Readonly<Record<string, string>> | undefined)?.["longshore.dev/run-id"] === run,
  );

await t.test("a webhook that is out of order: the run says for which it waits, and goes on when it is mended", async (t) => {
  let verdict: Verdict = { kind: "broken", status: 500 };
  await using _configured = await configured("ValidatingWebhookConfiguration", () => verdict);
  await ask("behind-a-webhook");
  await system.until("the run to wait for the webhook", () =>
    system.received.some(
      ({ subject, type, data }) =>
        subject === "behind-a-webhook" && type === "run.waiting" && /its webhook "images\.example\.com"/.test(sentenceOf(data)),
    ),
  );
  const { diagnosis } = only(await system.ledger.groups());
  t.match(diagnosis?.sentence, /webhook "images\.example\.com"/, "and so does its group");
  verdict = { kind: "allow" };
  t.same(await system.faults(["behind-a-webhook"]), [], "and no hold is left to a fence: nothing was ever in doubt");
  t.equal((await system.heard("run.succeeded", "behind-a-webhook")).type, "run.succeeded");
});

await t.test(
  "a webhook that strips our hold from what is created: said in the log, put back, and the outcome is told",
  async (t) => {
    const patch = [{ op: "remove", path: "/metadata/finalizers" }];
    await using _configured = await configured("MutatingWebhookConfiguration", () => ({ kind: "change", patch }));
    await ask("stripped", "12s");
    await system.heard("run.started", "stripped");
    t.ok(
      launcher.said.some((line) => /without our hold/.test(line)),
      "the launcher says so",
    );
    await system.until(
      "the hold to be back",
      async () => ((await jobOf("stripped"))?.metadata["finalizers"] as readonly string[] | undefined)?.includes(HOLD) === true,
    );
    t.same(await system.faults(["stripped"]), []);
  },
);

await t.test("a webhook that strips our hold whenever it can: the outcome is told all the same", async (t) => {
  const judge = (): Verdict => ({ kind: "change", patch: [{ op: "add", path: "/metadata/finalizers", value: [] }] });
  await using _configured = await configured("MutatingWebhookConfiguration", judge);
  await ask("always-stripped", "3s");
  await system.ended(["always-stripped"]);
  t.equal((await system.heard("run.succeeded", "always-stripped")).type, "run.succeeded");
});
