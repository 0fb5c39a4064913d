/**
 * A node of the bench's own. The API server asks it for logs, as it asks a kubelet, and the node answers at once.
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
const LOG = "/containerLogs/";

export interface BenchNode extends AsyncDisposable {
  /** The number of logs that the API server asked for. */
  readonly logs: () => number;
}

export async function openNode(admin: Transport): Promise<BenchNode> {
  let logs = 0;
  const server = createServer({ cert: serverCertificate, key: serverKey }, (request, response) => {
    const isLog = request.url?.startsWith(LOG) ?? false;
    if (isLog) logs++;
    response.writeHead(isLog ? 200 : 404, { "content-type": "text/plain" }).end(isLog ? "one line\n" : "");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const nodes = "/api/v1/nodes";
  await ask(admin, { method: "POST", path: nodes, body: { apiVersion: "v1", kind: "Node", metadata: { name: NODE } } });
  const addresses = [{ type: "InternalIP", address: "127.0.0.1" }];
  const status = { addresses, daemonEndpoints: { kubeletEndpoint: { Port: port } } };
  await ask(admin, { method: "PATCH", path: `${nodes}/${NODE}/status`, contentType: MERGE, body: { status } });
  return {
    logs: () => logs,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}
