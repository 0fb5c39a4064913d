import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t from "tap";
import { deliveriesConformance } from "./conformance-deliveries.ts";
import { INSTALLATION, jobName } from "./conformance-parts.ts";
import { deliveriesModel } from "./deliveries-model.ts";
import { ledgerModel } from "./model.ts";

await deliveriesConformance(t, {
  name: "the model",
  open: async () => {
    const clock = stepsClock({ nowMs: Date.parse("2026-01-01T00:00:00Z") });
    const model = ledgerModel({ clock, installation: INSTALLATION, jobName });
    const deliveries = deliveriesModel(model.tables, clock);
    return { ledger: model.connect(), deliveries, pass: (ms) => clock.pass(ms), [Symbol.asyncDispose]: async () => {} };
  },
});
