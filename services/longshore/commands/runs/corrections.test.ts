import t from "tap";
import { correctionOf } from "./corrections.ts";

const plain = (given: readonly string[]): unknown => JSON.parse(JSON.stringify(correctionOf(given)));

t.test("a parameter takes any JSON, or a text; all other fields take texts", async (t) => {
  const given = ["parameters.go=true", "parameters.list=[1]", "parameters.tag=v1.2", "parameters.a.b=x", "env.N=1"];
  t.same(plain(given), { parameters: { go: true, list: [1], tag: "v1.2", "a.b": "x" }, env: { N: "1" } });
});
