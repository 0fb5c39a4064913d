import { stepsClock } from "@longshore/runtime/steps-clock.ts";
import t from "tap";
import { ledgerConformance } from "./conformance.ts";
import { INSTALLATION, jobName } from "./conformance-parts.ts";
import { ledgerModel } from "./model.ts";

await ledgerConformance(t, {
  name: "the model",
  open: async () => {
    const clock = stepsClock({ nowMs: Date.parse("2026-01-01T00:00:00Z") });
    const model = ledgerModel({ clock, installation: INSTALLATION, jobName });
    return { connect: async () => model.connect(), pass: (ms) => clock.pass(ms), [Symbol.asyncDispose]: async () => {} };
  },
});
