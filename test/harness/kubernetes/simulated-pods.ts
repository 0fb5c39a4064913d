/**
 * The behaviour of simulated pods, as kwok's stages. A pod starts, runs as long as its Job's annotations say, and ends with the
 * exit code that they say. Without annotations it succeeds at once.
 *
 * The failure this prevents: tests of a cancel, a deletion or a failure that only a real node could run.
 */

/** Annotations of a run, which its pods carry. */
const RUNS_FOR = "pods.example.org/runs-for"; // "30s"
const EXIT_CODE = "pods.example.org/exit-code"; // "3"

export const annotated = ({ runsFor, exitCode = 0 }: { readonly runsFor?: string; readonly exitCode?: number }) => ({
  annotations: { ...(runsFor !== undefined && { [RUNS_FOR]: runsFor }), [EXIT_CODE]: String(exitCode) },
});

export function podStages(): readonly object[] {
  const isAlive = { key: ".metadata.deletionTimestamp", operator: "DoesNotExist" };
  return [
    stage("pod-starts", {
      selector: { matchExpressions: [isAlive, { key: ".status.podIP", operator: "DoesNotExist" }] },
      next: { statusTemplate: RUNNING },
    }),
    stage("pod-ends", {
      selector: {
        matchExpressions: [
          isAlive,
          { key: ".status.phase", operator: "In", values: ["Running"] },
          { key: ".metadata.ownerReferences.[].kind", operator: "In", values: ["Job"] },
        ],
      },
      delay: { durationMilliseconds: 0, durationFrom: { expressionFrom: `.metadata.annotations["${RUNS_FOR}"]` } },
      next: { statusTemplate: ENDED },
    }),
    stage("pod-goes", {
      selector: { matchExpressions: [{ key: ".metadata.deletionTimestamp", operator: "Exists" }] },
      next: { finalizers: { empty: true }, delete: true },
    }),
  ];
}

const stage = (name: string, spec: object): object => ({
  apiVersion: "kwok.x-k8s.io/v1alpha1",
  kind: "Stage",
  metadata: { name },
  spec: { resourceRef: { apiGroup: "v1", kind: "Pod" }, ...spec },
});

const RUNNING = `
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
podIP: {{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace | Quote }}
conditions:
{{ range $type := (list "Initialized" "Ready" "ContainersReady") }}
- { type: {{ $type | Quote }}, status: "True", lastTransitionTime: {{ $now | Quote }} }
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  restartCount: 0
  state: { running: { startedAt: {{ $now | Quote }} } }
{{ end }}
`;

const ENDED = `
{{ $now := Now }}
{{ $code := "0" }}
{{ range $name, $value := .metadata.annotations }}{{ if eq $name "${EXIT_CODE}" }}{{ $code = $value }}{{ end }}{{ end }}
{{ $root := . }}
phase: {{ if eq $code "0" }}Succeeded{{ else }}Failed{{ end }}
containerStatuses:
{{ range $index, $item := .spec.containers }}
{{ $before := index $root.status.containerStatuses $index }}
- name: {{ $item.name | Quote }}
  image: {{ $item.image | Quote }}
  ready: false
  started: false
  restartCount: 0
  state:
    terminated:
      exitCode: {{ $code }}
      reason: {{ if eq $code "0" }}Completed{{ else }}Error{{ end }}
      startedAt: {{ $before.state.running.startedAt | Quote }}
      finishedAt: {{ $now | Quote }}
{{ end }}
`;
