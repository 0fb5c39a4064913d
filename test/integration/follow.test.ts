/**
 * Following Jobs through the fault proxy, on the pocket over HTTPS. test/kube/faults/follow.test.ts does the same on a real API
 * server.
 */
// runs at most 5 min
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { connect } from "@longshore/kubernetes/access/connect.ts";
import { openTransport } from "@longshore/kubernetes/request/exchange.ts";
import { authority, serverCertificate, serverKey } from "@longshore/kubernetes/testing/certificates.ts";
import { createNamespace } from "@longshore/pocket/server/write.ts";
import { startPocket } from "@longshore/pocket/start.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import t from "tap";
import { followFaults } from "../harness/faults/follow-faults.ts";
import type { Ground } from "../harness/faults/follow-stage.ts";
import { watchFaults } from "../harness/faults/watch-faults.ts";

t.setTimeout(0);

const dataDir = await mkdtemp(path.join(tmpdir(), "longshore-follow-"));
const pocket = await startPocket({ dataDir, throwaway: true, tls: { key: serverKey, cert: serverCertificate } });
const { token } = pocket;
const connected = await connect({ cluster: { server: pocket.url, ca: authority }, credential: { token }, clock });
if (connected.kind === "refused") throw new Error(JSON.stringify(connected.problems));
const admin = openTransport(connected.connection);
t.teardown(async () => {
  await admin[Symbol.asyncDispose]();
  await pocket[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true, force: true });
});

const ground: Ground = {
  url: pocket.url,
  ca: authority,
  admin,
  room: async () => {
    const namespace = `batch-${randomBytes(4).toString("hex")}`;
    createNamespace(pocket.cluster, namespace);
    return { namespace, token };
  },
  forget: async () => pocket.cluster.store.compact(),
};

followFaults(t, () => ground);
watchFaults(t, () => ground);
