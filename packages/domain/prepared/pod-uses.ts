/**
 * What a prepared pod uses, as a group's policy names it.
 *
 * The failure this prevents: a Secret that a pod reads by a way that nobody listed. All ways by which a pod's spec names a Secret,
 * an account, a claim or a storage class stand here.
 */
import { notAllowed, type Policy, type Uses } from "../group/policy.ts";
import { at, field, list, text } from "../watch/raw.ts";
import { containersOf, forbiddenAt } from "./pod-security.ts";

const ALL = 1_000;

/**
 * A pod that says nothing of an account has the account `default`. Kubernetes would give it that account's token; a group whose
 * policy does not allow that withholds the token (manifest.ts), and the pod is not judged by it.
 */
export function usesOfPod(pod: unknown): Uses {
  const containers = containersOf(pod);
  const [images, init] = [
    list(field(pod, "containers"), ALL),
    list(field(pod, "initContainers"), ALL),
  ].map((all) => all.flatMap((it) => text(field(it, "image")) ?? [])) as [string[], string[]]; // biome-ignore format: one step
  const [image, ...others] = images;
  const volumes = list(field(pod, "volumes"), ALL);
  const projected = volumes.flatMap((it) => list(at(it, "projected", "sources"), ALL));
  const account = text(field(pod, "serviceAccountName")) ?? text(field(pod, "serviceAccount"));
  const named = account !== undefined && account !== "default" ? account : undefined;
  const mounts = field(pod, "automountServiceAccountToken");
  const hasToken =
    mounts === true ||
    (named !== undefined && mounts !== false) ||
    projected.some((it) => field(it, "serviceAccountToken") !== undefined);
  const serviceAccount = named ?? (hasToken ? "default" : undefined);
  const classes = volumes.flatMap((it) => {
    const spec = at(it, "ephemeral", "volumeClaimTemplate", "spec");
    return spec === undefined ? [] : [text(field(spec, "storageClassName")) ?? ""];
  });
  return {
    ...(image !== undefined && { image }),
    initImages: [...others, ...init],
    secrets: secretsIn(pod, containers, [...volumes, ...projected]),
    ...(serviceAccount !== undefined && { serviceAccount }),
    ...(hasToken && { token: true }),
    claims: volumes.flatMap((it) => text(at(it, "persistentVolumeClaim", "claimName")) ?? []),
    storageClasses: classes,
  };
}

/** The keys under which a volume's kind names its Secret. */
const REFERENCES = ["secretRef", "nodePublishSecretRef"];

function secretsIn(pod: unknown, containers: readonly unknown[], sources: readonly unknown[]): readonly string[] {
  const names = [
    ...containers.flatMap((it) => [
      ...list(field(it, "env"), ALL).map((variable) => at(variable, "valueFrom", "secretKeyRef", "name")),
      ...list(field(it, "envFrom"), ALL).map((from) => at(from, "secretRef", "name")),
    ]),
    ...list(field(pod, "imagePullSecrets"), ALL).map((it) => field(it, "name")),
    ...sources.flatMap((it) => [
      at(it, "secret", "secretName"),
      at(it, "secret", "name"),
      at(it, "azureFile", "secretName"),
      ...Object.values(typeof it === "object" && it !== null ? it : {}).flatMap((kind) =>
        REFERENCES.map((ref) => at(kind, ref, "name")),
      ),
    ]),
  ];
  return [...new Set(names.flatMap((it) => text(it) ?? []))];
}

/** The first thing in a prepared pod that the group's policy does not allow, as a person would call it. */
export function notAllowedInPod(policy: Policy, pod: unknown): string | undefined {
  const forbidden = forbiddenAt(policy.podSecurity ?? "baseline", pod);
  return notAllowed(policy, usesOfPod(pod)) ?? forbidden;
}
