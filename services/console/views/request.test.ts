import type { RunRequest } from "@longshore/contract/request/request.ts";
import t from "tap";
import { withheldFrom } from "./request.ts";

t.test("a request is shown without what may hold a password, and says what is missing", async (t) => {
  const request = {
    parameters: { month: "2026-10" },
    steps: [
      { name: "load", image: "i", command: ["load", "--password=canary"], env: { PASSWORD: "canary" } },
      { name: "save", image: "i", init: [{ name: "a", env: { PASSWORD: "canary" } }], files: [{ path: "/a", text: "canary" }] },
    ],
  } as unknown as RunRequest;
  const found = withheldFrom(request);
  t.same(found, {
    request: {
      parameters: { month: "2026-10" },
      steps: [
        { name: "load", image: "i" },
        { name: "save", image: "i" },
      ],
    },
    withheld: ["/steps/0/command", "/steps/0/env", "/steps/1/init", "/steps/1/files"],
  });
  t.notMatch(JSON.stringify(found), "canary");
});
