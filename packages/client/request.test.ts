/** The client judges a request by the launcher's own rules, before it is sent. */
import { readCommand } from "@longshore/contract/messages/envelope.ts";
import t from "tap";
import { message } from "./request.ts";

t.test("makes bytes that the launcher takes", async (t) => {
  const data = { run: "orders/8812", image: "registry.example/export:1", env: { ORDER: "8812" }, deadline: "15m" };
  const made = message({ source: "/shop", id: "m1" }, "run.requested", data);
  if (made.kind !== "message") return void t.fail("it was refused");
  t.match(made, { id: "m1", contentType: "application/cloudevents+json", routingKey: "run.requested" });
  t.same(readCommand(made.body), { kind: "command", command: { type: "run.requested", id: "m1", source: "/shop", data } });
});

t.test("gives every message an id of its own", async (t) => {
  const ids = [1, 2]
    .map(() => message({ source: "/shop" }, "run.cancel", { run: "a" }))
    .map((made) => made.kind === "message" && made.id);
  t.ok(ids[0]);
  t.not(ids[0], ids[1]);
});

t.test("a second try of a restart carries the id that its sender gave, so that it is a duplicate", async (t) => {
  const made = [1, 2].map(() => message({ source: "/shop", id: "restart-1" }, "run.restart", { run: "a", from: "failed" }));
  for (const it of made) t.match(it, { kind: "message", id: "restart-1" });
  t.same(made[0], made[1]);
});

t.test("returns every problem of a request, and of its sender", async (t) => {
  const made = message({ source: "the shop" }, "run.requested", { run: "a b", image: "x", deadline: "soon" });
  if (made.kind !== "refused") return void t.fail("it was taken");
  t.same(
    made.problems.map(({ path }) => path),
    ["/source"],
  );
  const again = message({ source: "/shop" }, "run.requested", { run: "a b", image: "x", deadline: "soon" });
  t.same(again.kind === "refused" && again.problems.map(({ path }) => path), ["/data/deadline", "/data/run"]);
});
