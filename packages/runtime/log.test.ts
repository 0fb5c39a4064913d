/** The lines that the log prints, and the contents that never get into them. */
import t from "tap";
import { openLog, redact } from "./log.ts";
import { secret, withoutCredentials } from "./config/secret.ts";

function logged(format: "json" | "text", isTTY = false) {
  const lines: string[] = [];
  const log = openLog("launcher", { level: "info", format }, { isTTY, write: (text) => lines.push(text) });
  return { log, lines };
}

t.test("a line is JSON with its level, name, message and fields; children add theirs", async (t) => {
  const { log, lines } = logged("json");
  log.child({ group: "prod-a" }).warn("the watch is stale", { seconds: 9 });
  log.debug("not at this level");
  t.equal(lines.length, 1);
  t.match(JSON.parse(lines[0] ?? ""), {
    level: "warn",
    name: "launcher",
    msg: "the watch is stale",
    group: "prod-a",
    seconds: 9,
  });
});

t.test("no secret gets in, whatever it is called and wherever it stands", async (t) => {
  const { log, lines } = logged("json");
  log.error("cannot reach amqp://user:s3cret@host", {
    password: "s3cret",
    token: secret("s3cret"),
    nested: { apiKey: "s3cret", list: [{ authorization: "s3cret" }] },
    env: { A: "s3cret" },
    cookie: "s3cret",
    launchCredential: "s3cret",
    privateKey: "s3cret",
    said: "cannot reach postgres://user:s3cret@host",
    error: new Error("at postgres://u:s3cret@host/db", { cause: new Error("amqps://u:s3cret@host") }),
  });
  t.notMatch(lines.join(""), "s3cret");
  t.match(lines[0], "amqp://[redacted]@host");
});

t.test("a value that is deep, wide, circular or no JSON is bounded and does not throw", async (t) => {
  const circular: Record<string, unknown> = {
    big: 1n,
    bytes: new Uint8Array(3),
    wide: Array.from({ length: 1_000 }, (_, i) => i),
  };
  circular["self"] = circular;
  const { log, lines } = logged("json");
  log.info("look", { circular });
  t.ok((lines[0]?.length ?? 0) < 5_000);
  t.match(redact({ big: 1n, bytes: new Uint8Array(3) }), { big: "1", bytes: "3 bytes" });
});

t.test("a person at a terminal gets text, with errors and their causes in a few words", async (t) => {
  const { log, lines } = logged("text");
  log.info("launched", { job: "a-b", error: new Error("no", { cause: new Error("because") }) });
  t.match(lines[0], /^\d\d:\d\d:\d\d\.\d{3}Z info {2}launcher {2}launched {2}job=a-b {2}error="no" because "because"\n$/);
  log.info("launched", { said: "\u001b[2J\u009b31m" });
  t.match(lines[1], /said="\\u001b\[2J·31m"\n$/, "nothing that a terminal obeys");
});

t.test("credentials leave any URL, and nothing else does", async (t) => {
  for (const [text, want] of [
    ["amqp://u:p@h:1/v", "amqp://[redacted]@h:1/v"],
    ["see postgres://u@h, amqps://a:b@c", "see postgres://[redacted]@h, amqps://[redacted]@c"],
    ["https://h/path@x?a=b@c", "https://h/path@x?a=b@c"],
    ["mail ada@example.com", "mail ada@example.com"],
  ] as const) {
    t.equal(withoutCredentials(text), want);
  }
});
