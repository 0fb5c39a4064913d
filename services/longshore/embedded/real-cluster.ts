/**
 * Asks the cluster that `longshore up` was given, once, before anything else is started.
 *
 * The failures this prevents: Jobs in a namespace that nobody chose; and an "up" after which every run waits, because the file,
 * the address, the login or the namespace was wrong. Permissions are not judged here: `longshore doctor` tells them, and so
 * does each run that needs more.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import { connect } from "@longshore/kubernetes/access/connect.ts";
import { openTransport } from "@longshore/kubernetes/request/exchange.ts";
import { preflight, type Row } from "@longshore/kubernetes/preflight/preflight.ts";
import { explainIn } from "@longshore/launcher/groups/sample-job.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import type { ClusterChoice } from "./home.ts";

export interface Named {
  readonly kubeconfig: string;
  readonly context: string | undefined;
  /** `undefined`: the namespace that the file's context names. */
  readonly namespace: string | undefined;
  readonly allowPrograms: boolean;
}

const TO_ALLOW = "Add --allow-programs if you trust the file.";

export async function realCluster(named: Named, signal: AbortSignal): Promise<AsyncDisposable & ClusterChoice> {
  const { kubeconfig, context, allowPrograms } = named;
  const cluster = { kubeconfig, ...(context !== undefined && { context }), ...(allowPrograms && { allowPrograms }) };
  const name = context?.toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-") ?? "cluster";
  const connected = await connect({ cluster, credential: {}, clock, toAllowPrograms: TO_ALLOW });
  if (connected.kind === "refused") {
    const why = connected.problems.map(({ message }) => message).join(" ");
    throw new Failure("halt", "Kubeconfig", `${why} Correct it, or name another with --kubeconfig FILE and --context NAME.`);
  }
  const { connection } = connected;
  const namespace = named.namespace ?? connection.contextNamespace;
  if (namespace === undefined)
    throw new Failure(
      "halt",
      "NamespaceUnsaid",
      `${context === undefined ? "The current context" : `The context "${context}"`} of ${kubeconfig} names no namespace. Say where Jobs are to be created: --namespace NAME.`,
    );
  await using transport = openTransport(connection);
  const asked = { connection, transport, clock, namespace, role: "launcher", explain: explainIn(name, namespace) } as const;
  const wrong = (await preflight(asked, signal)).find(({ state, code }) => state === "failed" && code !== "Forbidden");
  if (wrong !== undefined)
    throw new Failure(
      "halt",
      "ClusterUnusable",
      `The cluster of ${kubeconfig} cannot be used. ${wrong.detail} ${todo(wrong, kubeconfig, namespace)}`,
    );
  return { name, namespace, cluster, [Symbol.asyncDispose]: async () => {} };
}

function todo({ step, code, hint = "" }: Row, kubeconfig: string, namespace: string): string {
  if (step === "namespace") return `Create it (kubectl create namespace ${namespace}), or name another with --namespace NAME.`;
  return code === "AuthRejected" ? `Log in there anew, until \`kubectl --kubeconfig ${kubeconfig} get jobs\` works.` : hint;
}
