/**
 * Makes the servers that the slower tests need before the first of them runs, so that no test's time is spent on a build.
 *
 *   node test/harness/builds/prepare.ts rabbitmq | nats | kubernetes | node | browser
 */
import { NEEDS, type Need } from "../../runner/needs.ts";
import { chromiumRoot } from "../browser/chromium.ts";
import { toStderr } from "./cached.ts";
import { forgetCompiled } from "./go.ts";
import { nodePrograms } from "../kubernetes/node-programs.ts";
import { podProgram } from "../kubernetes/pod-program.ts";
import { askedVersion, programs } from "../kubernetes/programs.ts";
import { natsServer } from "../nats/server.ts";
import { bringRabbitmq } from "../rabbitmq/server.ts";

const MAKE: Readonly<Record<Need, () => Promise<unknown>>> = {
  rabbitmq: async () => {
    await bringRabbitmq("4.0", toStderr);
    await bringRabbitmq("3.10", toStderr);
  },
  nats: natsServer,
  kubernetes: async () => {
    await programs(askedVersion());
    await forgetCompiled(); // the runner makes one after the other, and no later one is built with Go
  },
  node: async () => {
    await nodePrograms();
    await podProgram(); // needs the node's programs
  },
  browser: () => chromiumRoot(),
};

if (import.meta.main) {
  const need = NEEDS.find((it) => it === process.argv[2]);
  if (need === undefined) throw new Error(`prepare knows ${NEEDS.join(", ")}, not "${String(process.argv[2])}"`);
  await MAKE[need]();
}
