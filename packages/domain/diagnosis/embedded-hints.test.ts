/** No hint of the embedded cluster names a tool or a person that is not there. */
import { type Code, DIAGNOSES, RESTRICTED } from "@longshore/contract/messages/diagnosis.ts";
import t from "tap";
import { embeddedHint } from "./embedded-hints.ts";
import { saysWhatToDo } from "./testing/action.ts";

for (const [code, { hint }] of Object.entries(DIAGNOSES) as [Code, { readonly hint: string }][])
  t.test(`${code} says what to do on this machine`, async (t) => {
    for (const given of [hint, RESTRICTED]) {
      const told = embeddedHint(code, given);
      t.notMatch(told, /kubectl|cluster's people/);
      t.ok(saysWhatToDo(told), told);
      t.equal(embeddedHint(code, told), told, "once is as good as twice");
    }
  });

t.test("outputs that are lost or invalid are told with the file that a program has to write here, and elsewhere", async (t) => {
  for (const code of ["OutputsLost", "OutputsInvalid"] as const)
    t.match(DIAGNOSES[code].hint, "${LONGSHORE_TERMINATION_LOG:-/dev/termination-log}");
  t.match(embeddedHint("OutputsLost", DIAGNOSES.OutputsLost.hint), /LONGSHORE_TERMINATION_LOG.*restart the run/);
});

t.test("a value that is missing is to come with the request, since nobody makes Secrets in the pocket", async (t) => {
  for (const hint of [DIAGNOSES.ConfigMissing.hint, "Create the service account in the group's namespace."])
    t.match(embeddedHint("ConfigMissing", hint), /^Put the value into the request \(`secretValues`.*new id/);
});

t.test("a command that ended with this machine's Longshore is nobody's fault who would be called", async (t) => {
  t.equal(DIAGNOSES.LocalStop.blame, "request");
});
