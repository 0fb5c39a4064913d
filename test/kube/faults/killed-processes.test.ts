/**
 * The fault tests of processes in which the cluster has a part, on real parts: RabbitMQ, Postgres, two control planes with
 * simulated nodes, and services that have exactly the permissions of `longshore rbac`. test/chaos has the tests' bodies, and the
 * tests to which a cluster makes no difference. (Faults 3–5, 8, 9, 11 in GUARANTEES.md.)
 */
// needs kubernetes, rabbitmq
// runs at most 20 min
import t from "tap";
import { AT_THE_CLUSTER, launcherIsKilled } from "../../chaos/bodies/launcher-killed.ts";
import { repliesAreLost, wiredByTls } from "../../chaos/bodies/reply-lost.ts";
import { launcherIsFrozen } from "../../chaos/bodies/two-launchers.ts";
import { nobodyWatches } from "../../chaos/bodies/watcher-away.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem } from "../../harness/system.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "simulated", clusters: 2, shared: true });
const { clusters } = cloud;
const brokerUrl = rabbit.url;

{
  await using system = await openSystem({ brokerUrl, clusters });
  const launcher = await system.launcher();
  await nobodyWatches(t, system);
  await launcher.stop();
  await launcherIsKilled(t, system, "on a real API server", AT_THE_CLUSTER);
  await using _watcher = await system.watcher();
  await launcherIsFrozen(t, system);
}
{
  await using it = await wiredByTls({ brokerUrl, clusters: clusters.slice(0, 1) });
  await repliesAreLost(t, it, { kills: 5 });
}
