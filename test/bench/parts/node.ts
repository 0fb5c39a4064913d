/**
 * Nodes that answer for logs: the API server asks a server of the bench, as it asks a kubelet, and is answered at once.
 *
 * The failure this prevents: a delay that is short because no log could be read.
 */
import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import { serverCertificate, serverKey } from "../../../packages/kubernetes/testing/certificates.ts";
import { ask, MERGE } from "./ask.ts";

export const NODE = "bench";
const NODES = "/api/v1/nodes";
const LOG = "/containerLogs/";

export interface BenchNode extends AsyncDisposable {
  /** The number of logs that the API server asked for. */
  readonly logs: () => number;
}

/** A node of the bench's own. */
export async function openNode(admin: Transport): Promise<BenchNode> {
  await ask(admin, { method: "POST", path: NODES, body: { apiVersion: "v1", kind: "Node", metadata: { name: NODE } } });
  return await answeringFor(admin, [NODE]);
}

/** All nodes that the cluster has. */
export async function openNodes(admin: Transport): Promise<BenchNode> {
  const { items } = (await ask(admin, { method: "GET", path: NODES })) as { items: { metadata: { name: string } }[] };
  return await answeringFor(
    admin,
    items.map(({ metadata }) => metadata.name),
  );
}

async function answeringFor(admin: Transport, names: readonly string[]): Promise<BenchNode> {
  let logs = 0;
  const server = createServer({ cert: serverCertificate, key: serverKey }, (request, response) => {
    const isLog = request.url?.startsWith(LOG) ?? false;
    if (isLog) logs++;
    response.writeHead(isLog ? 200 : 404, { "content-type": "text/plain" }).end(isLog ? "one line\n" : "");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const addresses = [{ type: "InternalIP", address: "127.0.0.1" }];
  const status = { addresses, daemonEndpoints: { kubeletEndpoint: { Port: port } } };
  for (const name of names)
    await ask(admin, { method: "PATCH", path: `${NODES}/${name}/status`, contentType: MERGE, body: { status } });
  return {
    logs: () => logs,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}
