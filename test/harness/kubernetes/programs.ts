/**
 * The programs of a Kubernetes control plane: named by the environment, found in the cache, or built from Go modules.
 *
 * The failure this prevents: tests of "Kubernetes" that nobody can repeat, because they used the version that happened to be
 * installed. modules/ pins every version and every hash; a build with an empty cache takes about seven minutes on two cores.
 *
 *   node test/harness/kubernetes/programs.ts [1.34]      makes them now
 */
import path from "node:path";
import { exists, type Say, toStderr } from "../builds/cached.ts";
import { built, type GoModule } from "../builds/go.ts";

const MODULES = path.join(import.meta.dirname, "modules");
export const VERSIONS = ["1.31", "1.34", "1.36"] as const;
export type KubernetesVersion = (typeof VERSIONS)[number];

const KUBERNETES = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet"] as const;
export type Program = (typeof KUBERNETES)[number] | "etcd";

/** The path of each program. */
export type Programs = Readonly<Record<Program, string>>;

const OTHERS: readonly GoModule[] = [
  {
    name: "etcd",
    folder: path.join(MODULES, "kubernetes-1.34"), // which needs most of etcd's libraries, too: they are compiled once
    module: "go.etcd.io/etcd/server/v3",
    packages: { etcd: "go.etcd.io/etcd/server/v3" },
  },
];

/** The version that the environment asks for, so that the same tests run on the oldest and on the newest. */
export function askedVersion(): KubernetesVersion {
  const asked = process.env["LONGSHORE_TEST_KUBERNETES_VERSION"] ?? "";
  return asked === "" ? NODE_VERSION : pinned(asked, "LONGSHORE_TEST_KUBERNETES_VERSION");
}

function pinned(asked: string, where: string): KubernetesVersion {
  const version = VERSIONS.find((it) => it === asked);
  if (version !== undefined) return version;
  throw new Error(`${where} asks for Kubernetes ${asked}; the tests pin ${VERSIONS.join(", ")}.`);
}

/** `LONGSHORE_TEST_KUBERNETES` may name a folder that holds all programs; their versions are not checked. */
export async function programs(version: KubernetesVersion = "1.34", say: Say = toStderr): Promise<Programs> {
  const named = process.env["LONGSHORE_TEST_KUBERNETES"];
  if (named !== undefined && named !== "") return await namedPrograms(named);
  const folders = new Map<string, string>();
  for (const it of [...OTHERS, kubernetesModule(version)])
    for (const name of Object.keys(it.packages)) folders.set(name, await built(it, say));
  const at = (name: Program): string => path.join(folders.get(name) ?? "", name);
  return record(at);
}

/**
 * The version whose kubelet the real node runs: the last one that starts on a machine with cgroup v1 without a setting for it.
 */
export const NODE_VERSION: KubernetesVersion = "1.34";

function kubernetesModule(version: KubernetesVersion): GoModule {
  const wanted = KUBERNETES.filter((name) => name !== "kubelet" || version === NODE_VERSION);
  const packages = Object.fromEntries(wanted.map((name) => [name, `k8s.io/kubernetes/cmd/${name}`]));
  return { name: "kubernetes", folder: path.join(MODULES, `kubernetes-${version}`), module: "k8s.io/kubernetes", packages };
}

async function namedPrograms(folder: string): Promise<Programs> {
  const found = record((name) => path.join(folder, name));
  for (const [name, file] of Object.entries(found))
    if (!(await exists(file)))
      throw new Error(
        `LONGSHORE_TEST_KUBERNETES names ${folder}, where ${name} is missing: put it there, or unset the variable.`,
      );
  return found;
}

const record = (at: (name: Program) => string): Programs => ({
  "kube-apiserver": at("kube-apiserver"),
  "kube-controller-manager": at("kube-controller-manager"),
  "kube-scheduler": at("kube-scheduler"),
  kubectl: at("kubectl"),
  kubelet: at("kubelet"),
  etcd: at("etcd"),
});

if (import.meta.main)
  for (const file of Object.values(await programs(pinned(process.argv[2] ?? NODE_VERSION, "the argument"))))
    process.stdout.write(`${file}\n`);
