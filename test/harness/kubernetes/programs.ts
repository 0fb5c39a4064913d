/**
 * The programs of a Kubernetes control plane: named by the environment, found in the cache, or built from Go modules.
 *
 * The failure this prevents: tests of "Kubernetes" that nobody could run again, because they used whatever was installed.
 * modules/ pins every version and every hash; a build with the cache empty takes about seven minutes on two cores.
 *
 *   node test/harness/kubernetes/programs.ts [1.34]      makes them now
 */
import * as fs from "node:fs/promises";
import path from "node:path";
import { cached, cacheFolder, exists, run, type Say, toStderr } from "../cached.ts";

const MODULES = path.join(import.meta.dirname, "modules");
export const VERSIONS = ["1.31", "1.34", "1.36"] as const;
export type KubernetesVersion = (typeof VERSIONS)[number];

const KUBERNETES = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet"] as const;
export type Program = (typeof KUBERNETES)[number] | "etcd" | "kwok";

/** Where each program stands. */
export type Programs = Readonly<Record<Program, string>>;

interface Module {
  /** A folder in modules/. */
  readonly folder: string;
  /** The module whose version names what is built. */
  readonly module: string;
  readonly packages: Readonly<Record<string, string>>;
}

const OTHERS: readonly Module[] = [
  { folder: "etcd", module: "go.etcd.io/etcd/server/v3", packages: { etcd: "go.etcd.io/etcd/server/v3" } },
  { folder: "kwok", module: "sigs.k8s.io/kwok", packages: { kwok: "sigs.k8s.io/kwok/cmd/kwok" } },
];

/** `LONGSHORE_TEST_KUBERNETES` may name a folder that holds them all; it is taken as it is. */
export async function programs(version: KubernetesVersion = "1.34", say: Say = toStderr): Promise<Programs> {
  const named = process.env["LONGSHORE_TEST_KUBERNETES"];
  if (named !== undefined && named !== "") return await namedPrograms(named);
  const folders = new Map<string, string>();
  for (const it of [...OTHERS, kubernetesModule(version)])
    for (const name of Object.keys(it.packages)) folders.set(name, await built(it, say));
  const at = (name: Program): string => path.join(folders.get(name) ?? "", name);
  return record(at);
}

/** The one whose kubelet the real node runs: the last that starts on a machine with cgroup v1 without being told to. */
const NODE_VERSION: KubernetesVersion = "1.34";

function kubernetesModule(version: KubernetesVersion): Module {
  const wanted = KUBERNETES.filter((name) => name !== "kubelet" || version === NODE_VERSION);
  const packages = Object.fromEntries(wanted.map((name) => [name, `k8s.io/kubernetes/cmd/${name}`]));
  return { folder: `kubernetes-${version}`, module: "k8s.io/kubernetes", packages };
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
  kwok: at("kwok"),
});

async function built({ folder, module, packages }: Module, say: Say): Promise<string> {
  const version = await versionIn(path.join(MODULES, folder, "go.mod"), module);
  const name = `${folder.replace(/-.*/, "")}-${version}`;
  return await cached(name, (making) => build({ folder, packages, version, making, say }), say);
}

interface Build {
  readonly folder: string;
  readonly packages: Readonly<Record<string, string>>;
  readonly version: string;
  readonly making: string;
  readonly say: Say;
}

/** One program after the other: each tells that it is done, and memory holds one linker at a time. */
async function build({ folder, packages, version, making, say }: Build): Promise<void> {
  await goIsThere();
  // Go's own cache of these builds is three gigabytes that nobody needs a second time.
  const goCache = path.join(cacheFolder(), `${path.basename(making)}-go`);
  const env = { CGO_ENABLED: "0", GOCACHE: goCache, GOFLAGS: "-mod=readonly" };
  const flags = `-s -w -X k8s.io/component-base/version.gitVersion=v${version}`;
  try {
    for (const [name, from] of Object.entries(packages)) {
      const began = performance.now();
      const what = `building ${name} ${version}`;
      say(`${what} from Go modules, once for all checkouts`);
      const args = ["-n", "10", "go", "build", "-trimpath", `-ldflags=${flags}`, "-o", path.join(making, name), from];
      await run("nice", args, { cwd: path.join(MODULES, folder), env, what, say });
      say(`  ${name} ${version} is built, ${Math.round((performance.now() - began) / 1000)} s`);
    }
  } finally {
    await fs.rm(goCache, { recursive: true, force: true });
  }
}

async function goIsThere(): Promise<void> {
  await run("go", ["version"]).catch((error: unknown) => {
    const how = "install Go 1.24 or newer, or name a folder with the programs in LONGSHORE_TEST_KUBERNETES";
    throw new Error(`the tests' Kubernetes is built with Go, which did not start: ${how}.`, { cause: error });
  });
}

async function versionIn(file: string, module: string): Promise<string> {
  const text = await fs.readFile(file, "utf8");
  const line = text.split("\n").find((it) =>
    it
      .replace(/^require /, "")
      .trim()
      .startsWith(`${module} v`),
  );
  if (line === undefined) throw new Error(`${file} does not require ${module}`);
  return line.slice(line.lastIndexOf(" v") + 2);
}

if (import.meta.main) {
  const asked = process.argv[2] ?? "1.34";
  const version = VERSIONS.find((it) => it === asked);
  if (version === undefined)
    throw new Error(`Kubernetes ${asked} is not pinned in ${MODULES}; there are ${VERSIONS.join(", ")}.`);
  for (const file of Object.values(await programs(version))) process.stdout.write(`${file}\n`);
}
