// runs with integration
/** The pocket as programs use it, over HTTP and with real processes, passes the suite that a real cluster passes. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clusterConformance } from "@longshore/kubernetes/testing/conformance.ts";
import type { Connection } from "@longshore/kubernetes/access/connection.ts";
import { openTransport } from "@longshore/kubernetes/request/exchange.ts";
import t from "tap";
import { startPocket } from "./start.ts";

function connection(server: string, token: string): Connection {
  return {
    server,
    trust: async () => ({ ca: undefined, cert: undefined, key: undefined, serverName: undefined, verify: true }),
    authorization: async () => `Bearer ${token}`,
    rejected: () => undefined,
    tokenTimes: () => undefined,
  };
}

const dataDir = await mkdtemp(join(tmpdir(), "pocket-test-"));
t.teardown(() => rm(dataDir, { recursive: true, force: true }));
let clusters = 0;

await clusterConformance(t, {
  name: "the pocket over HTTP",
  pods: "processes",
  image: "busybox",
  outlasts: 3,
  open: async () => {
    await using opened = new AsyncDisposableStack();
    const namespace = `conformance-${clusters++}`;
    const pocket = opened.use(
      await startPocket({
        dataDir: join(dataDir, namespace),
        namespaces: [namespace, "kube-system"],
        credentials: new Map([["confined", { user: "confined", namespaces: [namespace] }]]),
      }),
    );
    const transport = opened.use(openTransport(connection(pocket.url, pocket.token)));
    const confined = opened.use(openTransport(connection(pocket.url, "confined")));
    const all = opened.move();
    return {
      transport,
      namespace,
      confined,
      expire: async () => pocket.cluster.store.compact(),
      [Symbol.asyncDispose]: () => all.disposeAsync(),
    };
  },
});
