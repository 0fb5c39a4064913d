import t from "tap";
import { localPath } from "./local-path.ts";

const PAGES = ["/", "/start", "/run"];

for (const [name, given, want] of [
  ["a page", "/run?id=a%2F..%2Fb", "/run?id=a%2F..%2Fb"],
  ["a page with a mark", "/start?definition=greet#field-name", "/start?definition=greet#field-name"],
  ["nothing", undefined, "/"],
  ["another site", "https://evil.example/run", "/"],
  ["another site without its scheme", "//evil.example/run", "/"],
  ["another site behind backslashes", "/\\evil.example/run", "/"],
  ["another site behind a tab, which browsers remove", "/\t/evil.example", "/"],
  ["another site behind a dot, which browsers remove", "/.//evil.example", "/"],
  ["a user before another site", "http://here.invalid@evil.example/", "/"],
  ["a script", "javascript:alert(1)", "/"],
  ["a page that is none of ours", "/v1/leave", "/"],
  ["the way itself, which would turn in a circle", "/sign-in?to=/", "/"],
  ["an address that is too long for a cookie", `/run?id=${"a".repeat(3_000)}`, "/"],
] as const)
  t.test(`after signing in, ${name} leads to ${want.slice(0, 40)}`, async (t) => t.equal(localPath(given, PAGES), want));
