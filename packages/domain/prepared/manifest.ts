/**
 * Makes the Job of a run from the object that was prepared for it: the pod as its author wrote it, under Longshore's own Job.
 *
 * The failures this prevents: a copy that lacks something of the pod's template, which the copy's author never hears of; and a Job
 * that Kubernetes retries by itself, so that work runs more often than the ledger knows.
 */
import type { RenderedStep } from "@longshore/contract/request/request.ts";
import { notAllowed, type Policy } from "../group/policy.ts";
import { jobAround, type ManifestInput } from "../pod/manifest.ts";
import { at, field, list } from "../watch/raw.ts";
import { usesOfPod } from "./pod-uses.ts";
import type { PreparedSeen } from "./see.ts";

/** `input.step.env` holds the values of parameters, with each `$` doubled already. */
export function manifestFrom(prepared: PreparedSeen, input: ManifestInput, policy: Policy): object {
  const { metadata, spec, ...job } = jobAround(input);
  const { template } = prepared.runs ?? {};
  const own = spec.template.metadata;
  return {
    ...job,
    metadata: {
      ...metadata,
      labels: { ...prepared.labels, ...metadata.labels },
      annotations: { ...prepared.annotations, ...metadata.annotations },
    },
    spec: {
      ...spec,
      template: {
        metadata: {
          labels: { ...wordsAt(template, "labels"), ...own.labels },
          annotations: { ...wordsAt(template, "annotations"), ...own.annotations },
        },
        spec: podFrom(at(template, "spec"), input.step.env, policy),
      },
    },
  };
}

const wordsAt = (template: unknown, name: string): object => (at(template, "metadata", name) ?? {}) as object;

function podFrom(pod: unknown, values: RenderedStep["env"] = {}, policy: Policy): object {
  const withValues = (containers: unknown): readonly unknown[] =>
    list(containers, 1_000).map((it) => ({
      ...(it as object),
      ...(field(it, "env") !== undefined && { env: list(field(it, "env"), 1_000).map((variable) => valued(variable, values)) }),
    }));
  const init = field(pod, "initContainers");
  return {
    ...(pod as object),
    // Our own attempts take the place of restarts in the pod.
    restartPolicy: "Never",
    ...(init !== undefined && { initContainers: withValues(init) }),
    containers: withValues(field(pod, "containers")),
    ...(withholdsToken(pod, policy) && { automountServiceAccountToken: false }),
  };
}

/** A variable with a plain value; one that comes from elsewhere stays, whatever it is called. */
function valued(variable: unknown, values: NonNullable<RenderedStep["env"]>): unknown {
  const name = field(variable, "name");
  if (typeof name !== "string" || !Object.hasOwn(values, name) || field(variable, "valueFrom") !== undefined) return variable;
  return { ...(variable as object), value: values[name] };
}

/** A pod that says nothing of an account would get the token of `default`: only where the group's policy allows that. */
function withholdsToken(pod: unknown, policy: Policy): boolean {
  if (usesOfPod(pod).token === true || field(pod, "automountServiceAccountToken") !== undefined) return false;
  return notAllowed(policy, { serviceAccount: "default", token: true }) !== undefined;
}
