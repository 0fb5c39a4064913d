/** Which messages count as the same cause. */
import fc from "fast-check";
import t from "tap";
import { causeKey, normalise } from "./repeat.ts";

for (const [name, a, b] of [
  ["the pod's name", 'pods "orders-main-1-abc-b7k2p" is forbidden', 'pods "orders-main-1-abc-x9zzq" is forbidden'],
  ["a count", "0/3 nodes are available: 3 Insufficient cpu", "0/12 nodes are available: 12 Insufficient cpu"],
  ["one node instead of several", "of 1 node, 1 has too little CPU left", "of 3 nodes, 3 have too little CPU left"],
  ["an amount in use", "used: cpu=3, limited: cpu=4", "used: cpu=3500, limited: cpu=4"],
  ["a time", "since 2026-03-01T10:00:00Z", "since 2026-03-02T11:22:33.456+02:00"],
  ["a UID", "uid 123e4567-e89b-12d3-a456-426614174000", "uid 00000000-abcd-4fff-bc5d-aabbccddeeff"],
  ["a digest", `a@sha256:${"ab12".repeat(16)}`, `a@sha256:${"cd34".repeat(16)}`],
  ["a port", "dial tcp 10.0.0.1:443", "dial tcp 10.0.0.2:50123"],
  ["spaces and case", "Not  Found", "not found"],
] as const)
  t.test(`${name} makes no other cause`, async (t) => t.equal(normalise(a), normalise(b)));

for (const [a, b] of [
  ["Insufficient cpu", "Insufficient memory"],
  ['secret "db" not found', 'secret "mail" not found'],
  ["not found", "access denied"],
] as const)
  t.test(`"${a}" and "${b}" are two causes`, async (t) => t.not(normalise(a), normalise(b)));

t.test("two codes are two causes, whatever they say", async (t) => {
  t.not(causeKey({ code: "ImageNotFound", sentence: "x" }), causeKey({ code: "ImagePullDenied", sentence: "x" }));
});

t.test("the normalised text is short", async (t) => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 3000, unit: fc.constantFrom("a", "b", "7", "-", " ", ".", "\n", ":", "f") }),
      (message) => {
        const once = normalise(message);
        return once.length <= 500;
      },
    ),
  );
  t.pass();
});
