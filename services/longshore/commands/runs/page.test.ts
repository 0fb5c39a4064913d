/** What the page of a run says of its programs, so that a person can try one in a terminal. */
import { REQUESTED } from "@longshore/contract/messages/command.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import t from "tap";
import { played, planOf, input, runOf, step, toStep } from "@longshore/domain/attempt/testing/examples.ts";
import { childrenText, programOf } from "./page.ts";

const record = (corrected: object = {}) => ({ run: { plan: { with: corrected }, steps: {} } }) as RunRecord;
const pipeline = (steps: readonly object[]): RunRequest => REQUESTED.pipeline.parse({ run: "a", steps });
const load = { name: "load", image: "busybox", command: ["sh", "-c"], args: ["exit 3"] };

t.test("a run of one step has its image and command", async (t) => {
  const request = REQUESTED.simple.parse({ run: "a", image: "busybox", command: ["sh", "-c", "exit 3"] });
  t.same(programOf(record(), request), [
    ["image", "busybox"],
    ["command", "sh -c 'exit 3'"],
  ]);
  t.same(programOf(record({ main: { image: "busybox:2" } }), REQUESTED.simple.parse({ run: "a", image: "busybox" })), [
    ["image", "busybox:2"],
  ]);
});

t.test("a pipeline has the image and command of each step, as the last restart corrected them", async (t) => {
  const request = pipeline([load, { name: "mail", image: "mailer", needs: ["load"] }]);
  t.same(programOf(record({ mail: { image: "mailer:2" } }), request), [
    ["step", "load: busybox sh -c 'exit 3'"],
    ["step", "mail: mailer:2"],
  ]);
});

t.test("a long command, and a long pipeline, are cut and say so", async (t) => {
  const long = pipeline([{ ...load, args: ["x".repeat(1000)] }]);
  const [[, text] = ["", ""]] = programOf(record(), long);
  t.match(text, /^load: busybox sh -c x+…$/);
  t.ok(text.length < 120);
  const many = pipeline(Array.from({ length: 30 }, (_, at) => ({ ...load, name: `step-${at}` })));
  const lines = programOf(record(), many);
  t.equal(lines.length, 21);
  t.same(lines.at(-1), ["", "and 10 more steps"]);
});

t.test("a step that has not ended since pods that its program made are there says so", async (t) => {
  const uses = { serviceAccount: "worker", token: true as const };
  const ended = toStep("main", input.placed, input.claimDue, input.created, input.complete);
  const { record } = played(runOf(planOf([step("main", [], { uses })], {}, true)), ended);
  t.same(childrenText(record), ["that main made in prod-a are being deleted; then the step ends"]);
  t.same(childrenText(played(record, toStep("main", input.children)).record), []);
});
