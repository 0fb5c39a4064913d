import t from "tap";
import { nodesShared, type Volume } from "./volumes.ts";

const steps = (...all: readonly (readonly [name: string, volumes: string, needs?: string])[]) =>
  all.map(([name, volumes, needs = ""]) => ({
    name,
    needs: needs.split(" ").filter((it) => it !== ""),
    mounts: volumes.split(" ").map((volume) => ({ volume, path: `/${volume}` })),
  }));

const volume = (name: string, more: Partial<Volume> = {}): Volume => ({ name, size: "1Gi", ...more }) as Volume;

const cases = [
  { name: "steps one after the other need no common node", steps: steps(["a", "x"], ["b", "x", "a"]), want: {} },
  { name: "steps at once do", steps: steps(["a", "x"], ["b", "x"]), want: { a: "x", b: "x" } },
  { name: "steps behind different branches do, too", steps: steps(["r", "y"], ["a", "x", "r"], ["b", "x", "r"]), want: { a: "x", b: "x" } },
  { name: "a step behind all others is alone", steps: steps(["a", "x"], ["b", "x"], ["c", "x", "a b"]), want: { a: "x", b: "x" } },
  { name: "steps that share through a third one have one name", steps: steps(["a", "x"], ["b", "x y"], ["c", "y"]), want: { a: "x", b: "x", c: "x" } },
  { name: "two pairs have two names", steps: steps(["a", "x"], ["b", "x"], ["c", "y"], ["d", "y"]), want: { a: "x", b: "x", c: "y", d: "y" } },
]; // biome-ignore format: a table is read down its columns

for (const { name, steps: all, want } of cases)
  t.test(name, async (t) => {
    t.same(Object.fromEntries(nodesShared([volume("x"), volume("y")], all)), want);
  });

t.test("volumes of many nodes, of each pod and of others bind nobody to a node", async (t) => {
  const pair = steps(["a", "x"], ["b", "x"]);
  for (const it of [volume("x", { access: "ReadWriteMany" }), volume("x", { life: "step" }), { name: "x", claim: "shared" }])
    t.equal(nodesShared([it], pair).size, 0);
});
