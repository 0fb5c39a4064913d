/**
 * The rows of Kubernetes' Pod Security Standards, as far as a pod's template can break them.
 *
 * The failure this prevents: a person who may press Run starts a pod that owns its node, because the namespace has no label of Pod
 * Security and somebody annotated such a Job. Pods that Longshore makes itself have no field for any of this.
 */
import { at, field, list, text } from "../watch/raw.ts";

type Level = "privileged" | "baseline" | "restricted";

interface Row {
  readonly level: Exclude<Level, "privileged">;
  readonly what: string;
  readonly breaks: (pod: unknown, containers: readonly unknown[]) => boolean;
}

const CAPABILITIES = ["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"]; // biome-ignore format: a list of names
const SYSCTLS = [
  "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies",
  "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
]; // biome-ignore format: a list of names
const SELINUX = ["container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const VOLUMES = [
  "name",
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "persistentVolumeClaim",
  "projected",
  "secret",
  "image",
];

const securityOf = (it: unknown): unknown => field(it, "securityContext");
const everywhere = (pod: unknown, containers: readonly unknown[]): readonly unknown[] => [pod, ...containers].map(securityOf);
const handlers = (container: unknown): readonly unknown[] => [
  ...["livenessProbe", "readinessProbe", "startupProbe"].map((it) => field(container, it)),
  ...["postStart", "preStop"].map((it) => at(container, "lifecycle", it)),
];
const added = (container: unknown): readonly unknown[] => list(at(securityOf(container), "capabilities", "add"));
const seccompOf = (security: unknown): unknown => at(security, "seccompProfile", "type");
/** A container's own word goes before its pod's. */
const saidFor = (name: string, pod: unknown, container: unknown): unknown =>
  field(securityOf(container), name) ?? field(securityOf(pod), name);

// biome-ignore format: a table is read down its columns
const ROWS: readonly Row[] = [
  { level: "baseline", what: "a namespace of the node (hostNetwork, hostPID, hostIPC)", breaks: (pod) => ["hostNetwork", "hostPID", "hostIPC"].some((it) => field(pod, it) === true) },
  { level: "baseline", what: "a privileged container", breaks: (_, all) => all.some((it) => field(securityOf(it), "privileged") === true) },
  { level: "baseline", what: "a capability beyond the usual ones", breaks: (_, all) => all.some((it) => added(it).some((name) => !CAPABILITIES.includes(String(name)))) },
  { level: "baseline", what: "a folder of the node (hostPath)", breaks: (pod) => list(field(pod, "volumes")).some((it) => field(it, "hostPath") !== undefined) },
  { level: "baseline", what: "a port of the node (hostPort)", breaks: (_, all) => all.some((it) => list(field(it, "ports")).some((port) => ![undefined, 0].includes(field(port, "hostPort") as undefined))) },
  { level: "baseline", what: "a host of its own choice in a probe", breaks: (_, all) => all.some((it) => handlers(it).some((way) => ["httpGet", "tcpSocket"].some((kind) => text(at(way, kind, "host")) !== undefined))) },
  { level: "baseline", what: "no AppArmor profile", breaks: (pod, all) => everywhere(pod, all).some((it) => at(it, "appArmorProfile", "type") === "Unconfined") },
  { level: "baseline", what: "options of SELinux", breaks: (pod, all) => everywhere(pod, all).map((it) => field(it, "seLinuxOptions")).some((it) => text(field(it, "user")) !== undefined || text(field(it, "role")) !== undefined || (text(field(it, "type")) !== undefined && !SELINUX.includes(String(field(it, "type"))))) },
  { level: "baseline", what: "an unmasked /proc", breaks: (_, all) => all.some((it) => ![undefined, "Default"].includes(field(securityOf(it), "procMount") as undefined)) },
  { level: "baseline", what: "no seccomp profile (Unconfined)", breaks: (pod, all) => everywhere(pod, all).some((it) => seccompOf(it) === "Unconfined") },
  { level: "baseline", what: "a sysctl of the node", breaks: (pod) => list(field(securityOf(pod), "sysctls")).some((it) => !SYSCTLS.includes(String(field(it, "name")))) },
  { level: "baseline", what: "a Windows HostProcess", breaks: (pod, all) => everywhere(pod, all).some((it) => at(it, "windowsOptions", "hostProcess") === true) },
  { level: "restricted", what: "a kind of volume beyond the usual ones", breaks: (pod) => list(field(pod, "volumes")).some((it) => Object.keys(it as object).some((kind) => !VOLUMES.includes(kind))) },
  { level: "restricted", what: "privilege escalation (allowPrivilegeEscalation: false is missing)", breaks: (_, all) => all.some((it) => field(securityOf(it), "allowPrivilegeEscalation") !== false) },
  { level: "restricted", what: "the user root (runAsNonRoot: true is missing)", breaks: (pod, all) => all.some((it) => saidFor("runAsNonRoot", pod, it) !== true) || everywhere(pod, all).some((it) => field(it, "runAsUser") === 0) },
  { level: "restricted", what: "no seccomp profile (seccompProfile is missing)", breaks: (pod, all) => all.some((it) => !["RuntimeDefault", "Localhost"].includes(String(at(saidFor("seccompProfile", pod, it), "type")))) },
  { level: "restricted", what: "capabilities (drop: [ALL] is missing)", breaks: (_, all) => all.some((it) => !list(at(securityOf(it), "capabilities", "drop")).includes("ALL") || added(it).some((name) => name !== "NET_BIND_SERVICE")) },
];

/** The first thing in a pod's spec that the level forbids, as a person would call it. */
export function forbiddenAt(level: Level, pod: unknown): string | undefined {
  if (level === "privileged") return undefined;
  const containers = containersOf(pod);
  return ROWS.find((row) => (row.level === "baseline" || level === "restricted") && row.breaks(pod, containers))?.what;
}

export const containersOf = (pod: unknown): readonly unknown[] =>
  ["initContainers", "containers", "ephemeralContainers"].flatMap((name) => list(field(pod, name), 1_000));
