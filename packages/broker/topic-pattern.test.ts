/** The patterns mean the same here as in RabbitMQ. */
import t from "tap";
import { keyForPattern, patternAsRegex } from "./topic-pattern.ts";

const cases: readonly { readonly pattern: string; readonly takes: readonly string[]; readonly leaves: readonly string[] }[] = [
  { pattern: "#", takes: ["", "shop", "shop.a.run.failed"], leaves: [] },
  { pattern: "shop.#", takes: ["shop", "shop.a", "shop.a.b"], leaves: ["shopping", "a.shop", "shopping.a"] },
  { pattern: "#.failed", takes: ["failed", "run.failed", "shop.a.run.failed"], leaves: ["failed.x", "unfailed"] },
  { pattern: "*.*.run.failed", takes: ["shop.a.run.failed"], leaves: ["shop.run.failed", "shop.a.b.run.failed"] },
  { pattern: "shop.#.failed", takes: ["shop.failed", "shop.a.run.failed"], leaves: ["shop.failed.x", "bank.failed"] },
  { pattern: "shop.*", takes: ["shop.a"], leaves: ["shop", "shop.a.b"] },
  { pattern: "a+b.(c)", takes: ["a+b.(c)"], leaves: ["aab.c"] },
];

for (const { pattern, takes, leaves } of cases) {
  t.test(`"${pattern}" matches these keys and no others`, (t) => {
    const regex = new RegExp(patternAsRegex(pattern));
    for (const key of takes) t.ok(regex.test(keyForPattern(key)), `takes "${key}"`);
    for (const key of leaves) t.notOk(regex.test(keyForPattern(key)), `leaves "${key}"`);
    t.end();
  });
}
