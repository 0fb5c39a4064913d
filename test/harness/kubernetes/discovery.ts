/**
 * Every resource that an API server serves, with its subresources, as discovery lists them.
 *
 * The failure this prevents: a test of permissions that asks only about the resources that its author thought of.
 */
import type { Transport } from "@longshore/kubernetes/transport.ts";

export interface Resource {
  readonly group: string;
  readonly version: string;
  /** "jobs", "pods/log" */
  readonly resource: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  /** "/apis/batch/v1" */
  readonly root: string;
}

const forever = new AbortController().signal;

/** Lists each API group in its preferred version. */
export async function discover(transport: Transport): Promise<readonly Resource[]> {
  const { groups } = (await read(transport, "/apis")) as {
    readonly groups: readonly { readonly preferredVersion: { readonly groupVersion: string } }[];
  };
  const roots = ["/api/v1", ...groups.map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`)];
  return (await Promise.all(roots.map((root) => resourcesAt(transport, root)))).flat();
}

async function resourcesAt(transport: Transport, root: string): Promise<readonly Resource[]> {
  const { groupVersion, resources } = (await read(transport, root)) as {
    readonly groupVersion: string;
    readonly resources: readonly {
      readonly name: string;
      readonly kind: string;
      readonly namespaced: boolean;
      readonly verbs: readonly string[];
    }[];
  };
  const [version = "", group = ""] = groupVersion.split("/").toReversed();
  return resources.map(({ name, kind, namespaced, verbs }) => ({
    group,
    version,
    resource: name,
    kind,
    namespaced,
    verbs,
    root,
  }));
}

async function read(transport: Transport, path: string): Promise<unknown> {
  const { status, body } = await transport.send({ method: "GET", path }, forever);
  if (status !== 200) throw new Error(`GET ${path} was answered ${status}`);
  return body;
}
