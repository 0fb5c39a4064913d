/**
 * An admission webhook on loopback for a test's API server. It refuses, changes, breaks or falls silent, as the test tells it.
 *
 * The failure this prevents: rules about admission that were written against messages that no API server ever sent.
 */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { authority, serverCertificate, serverKey } from "../../../packages/kubernetes/testing/certificates.ts";

export type Verdict =
  | { readonly kind: "allow" }
  | { readonly kind: "refuse"; readonly message?: string; readonly code?: number }
  /** Allows the object with changes: a JSON patch. */
  | { readonly kind: "change"; readonly patch: readonly object[] }
  /** Answers with this status and without a review. */
  | { readonly kind: "broken"; readonly status: number }
  /** Takes the request and never answers. */
  | { readonly kind: "silent" };

/** The question that an API server asks of the webhook. */
export interface Review {
  readonly uid: string;
  readonly operation: string;
  readonly namespace?: string;
  readonly object?: {
    readonly kind: string;
    readonly metadata: { readonly name?: string; readonly finalizers?: readonly string[] };
  };
}

export interface Webhook extends AsyncDisposable {
  /** The `clientConfig` for a webhook configuration. */
  readonly clientConfig: { readonly url: string; readonly caBundle: string };
  readonly asked: readonly Review[];
}

export async function startWebhook(judge: (review: Review) => Verdict): Promise<Webhook> {
  const asked: Review[] = [];
  const server = createServer({ cert: serverCertificate, key: serverKey }, (request, response) => {
    void answer(request, response, (review) => {
      asked.push(review);
      return judge(review);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    clientConfig: { url: `https://127.0.0.1:${port}/admit`, caBundle: Buffer.from(authority).toString("base64") },
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, judge: (review: Review) => Verdict): Promise<void> {
  const review = (JSON.parse(await text(request)) as { readonly request: Review }).request;
  const verdict = judge(review);
  if (verdict.kind === "silent") return;
  if (verdict.kind === "broken") return void response.writeHead(verdict.status).end("out of order");
  const body = { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid: review.uid, ...said(verdict) } };
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function said(verdict: Extract<Verdict, { kind: "allow" | "refuse" | "change" }>): object {
  if (verdict.kind === "allow") return { allowed: true };
  if (verdict.kind === "change")
    return { allowed: true, patchType: "JSONPatch", patch: Buffer.from(JSON.stringify(verdict.patch)).toString("base64") };
  const { message, code } = verdict;
  return { allowed: false, ...((message ?? code) && { status: { ...(message && { message }), ...(code && { code }) } }) };
}

/** Makes a configuration that asks the webhook about this namespace alone. */
export function webhookConfiguration(
  kind: "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
  name: string,
  { clientConfig }: Pick<Webhook, "clientConfig">,
  of: { readonly namespace: string; readonly resource: "jobs" | "pods"; readonly operations?: readonly string[] },
): object {
  const { namespace, resource, operations = ["CREATE"] } = of;
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind,
    metadata: { name: name.replaceAll(".", "-") },
    webhooks: [
      {
        name,
        clientConfig,
        rules: [{ apiGroups: [resource === "jobs" ? "batch" : ""], apiVersions: ["v1"], operations, resources: [resource] }],
        namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
        failurePolicy: "Fail",
        sideEffects: "None",
        timeoutSeconds: 2,
        admissionReviewVersions: ["v1"],
      },
    ],
  };
}
