/**
 * Reads Kubernetes' sentences about admission: Pod Security, webhooks, policies.
 *
 * The failure this prevents: one rule that is told in two ways, once when it refuses a Job and once when it refuses a pod,
 * minutes later; and a broken webhook that is told as a refusal, so that somebody looks for a mistake in the request.
 */
import { diagnose, type Diagnosis, RESTRICTED } from "@longshore/contract/messages/diagnosis.ts";
import { firstLineOf } from "./foreign-words.ts";

const WEBHOOK =
  "Ask the cluster's people to mend or remove that webhook; until then their cluster takes nothing. It is tried again by itself.";

/** Returns the diagnosis of a rule that refuses; `undefined` if the message speaks of none. */
export function diagnoseAdmission(message: string, what: string, evidence: readonly string[]): Diagnosis | undefined {
  const [, level, demands] = /violates PodSecurity "([^":]+)[^"]*":\s*(.*)$/s.exec(message) ?? [];
  if (level !== undefined)
    return diagnose(
      "AdmissionDenied",
      `The namespace's Pod Security level "${level}" refuses the pod: ${demandsOf(demands ?? "")}.`,
      evidence,
      level === "restricted" ? RESTRICTED : undefined,
    );
  const [, webhook, why] =
    /admission webhook "([^"]+)" denied the request(?: without explanation)?:?\s*(.*)$/s.exec(message) ?? [];
  if (webhook !== undefined) return refused(webhook, what, why, evidence);
  const [, policy, because] = /ValidatingAdmissionPolicy '([^']+)'.* denied request:?\s*(.*)$/s.exec(message) ?? [];
  return policy === undefined ? undefined : refused(policy, what, because, evidence);
}

const refused = (rule: string, what: string, why: string | undefined, evidence: readonly string[]): Diagnosis =>
  diagnose(
    "AdmissionDenied",
    `The cluster's rule "${rule}" refuses the ${what}: ${firstLineOf(why || "it gives no reason")}.`,
    evidence,
  );

/**
 * Returns the texts in brackets, which a reader can act on: `runAsNonRoot != true (pod or container "main" must set
 * securityContext.runAsNonRoot=true), …`.
 */
function demandsOf(said: string): string {
  const demands = [...said.matchAll(/\(((?:[^()]|\([^()]*\))*\bmust\b(?:[^()]|\([^()]*\))*)\)/g)].flatMap(([, it]) => it ?? []);
  return firstLineOf(demands.length === 0 ? said || "it gives no reason" : demands.join("; "), 480);
}

/** Returns the diagnosis of a webhook that gives no valid answer; `undefined` if the message speaks of none. */
export function diagnoseWebhook(
  message: string,
  whose: string,
  what: "Job" | "pod",
  evidence: readonly string[],
): Diagnosis | undefined {
  const [, webhook] = /failed calling webhook "([^"]+)"/.exec(message) ?? [];
  if (webhook === undefined) return undefined;
  const how = /context deadline exceeded|Client\.Timeout|timeout awaiting/i.test(message)
    ? "does not answer in time"
    : /connection refused|no such host|no endpoints|service "[^"]*" not found/i.test(message)
      ? "is not there"
      : "is out of order";
  return diagnose(
    "EndpointUnreachable",
    `${whose} must ask its webhook "${webhook}" before it takes a ${what}, and that ${how}.`,
    evidence,
    WEBHOOK,
  );
}
