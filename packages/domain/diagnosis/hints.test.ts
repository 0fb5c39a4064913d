/** The hint of every code says what to do, and the person for whom it is written can do it. */
import { DIAGNOSES } from "@longshore/contract/messages/diagnosis.ts";
import t from "tap";
import { saysWhatToDo } from "./testing/action.ts";

/** Settings that do not exist for a group, a step or a request. */
const NO_SETTING = /the group an? \w*pull|the group's pods|ask whoever runs the group: its pods/i;

for (const [code, { hint }] of Object.entries(DIAGNOSES))
  t.test(`${code}: ${hint}`, async (t) => {
    t.ok(saysWhatToDo(hint), "it says what to do, or where to look");
    t.ok(hint.length <= 250, "in a line or two");
    t.notMatch(hint, NO_SETTING, "with a setting that there is");
  });

for (const hint of [
  "The pod did not start within `startWithin`.",
  "The nodes cannot reach the image's registry.",
  "The evidence fits no known cause; it is shown as it was found.",
  "The program ended with an error; its log is the place to look.",
])
  t.test(`a hint that only says what happened would be found: ${hint}`, async (t) => {
    t.notOk(saysWhatToDo(hint));
  });
