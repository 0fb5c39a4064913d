/** The recorder's settings: every mistake in a rule is told at the start, by its place. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigProblems, readConfig } from "@longshore/runtime/config/config.ts";
import { leaves } from "@longshore/runtime/config/shape.ts";
import t from "tap";
import { RecorderConfig } from "./config.ts";

const folder = mkdtempSync(join(tmpdir(), "longshore-recorder-config-"));
t.teardown(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, "token"), "secret");
writeFileSync(join(folder, "key"), `whsec_${Buffer.alloc(32, 7).toString("base64")}\n`);

function read(sink: string): RecorderConfig | string[] {
  const file = join(folder, "recorder.yaml");
  writeFileSync(
    file,
    `installation: prod\nledger: { url: "postgres://localhost/longshore" }\nsinks:\n  shop:\n${sink.replace(/^/gm, "    ")}\n`,
  );
  try {
    return readConfig(RecorderConfig, { file, env: {} });
  } catch (error) {
    if (error instanceof ConfigProblems) return [...error.problems];
    throw error;
  }
}

const RULE = '{ on: ["run.succeeded"], url: "https://shop.example/x" }';

t.test("a whole sink is read, with files beside the settings", async (t) => {
  const config = read(`signingKeysFile: key
headers: { authorization: { valueFile: token, before: "Token " }, x-app: longshore }
timeout: 3s
rules:
  - on: ["run.step.*"]
    match: { run: "orders/{order}/*", data.step: [load, save] }
    method: PUT
    url: "https://shop.example/orders/\${{ match.order }}"
    headers: { x-run: "\${{ event.run }}" }
    body: { step: "\${{ event.data.step }}" }`);
  t.match(config, {
    sinks: {
      shop: {
        timeout: 3_000,
        inFlight: 8,
        headers: { authorization: { valueFile: join(folder, "token") } },
        rules: [{ method: "PUT" }],
      },
    },
    pace: { poll: 1_000, giveUpAfter: 259_200_000 },
    addresses: { allow: [] },
  });
  t.notMatch(JSON.stringify(config), "whsec_");
});

// biome-ignore format: a table is read down its columns
const CASES = [
  { name: "a type that no event has", sink: 'rules: [{ on: [run.suceeded], url: "https://a.example/" }]', says: /recorder\.yaml:\d+: sinks\.shop\.rules\.0\.on\.0: is no event of a run; did you mean "run\.succeeded"\?/ },
  { name: "a path that no event has", sink: 'rules: [{ on: ["run.*"], match: { step: x }, url: "https://a.example/" }]', says: /match\.step: .*data\.step/ },
  { name: "an expression in a host", sink: 'rules: [{ on: ["run.*"], url: "https://${{ event.run }}/" }]', says: /rules\.0\.url: has an expression in its host/ },
  { name: "a name that nothing cuts out", sink: 'rules: [{ on: ["run.*"], url: "https://a.example/${{ match.job }}" }]', says: /rules\.0: .*cuts out "job"/ },
  { name: "a header that is ours", sink: `headers: { webhook-id: x }\nrules: [${RULE}]`, says: /headers\.webhook-id: .*writes itself/ },
  { name: "a header in large letters", sink: `headers: { X-App: x }\nrules: [${RULE}]`, says: /headers\.X-App: .*small letters/ },
  { name: "a file that is not there", sink: `headers: { authorization: { valueFile: nosuch } }\nrules: [${RULE}]`, says: /valueFile: cannot be read/ },
  { name: "a key that is none", sink: `signingKeysFile: token\nrules: [${RULE}]`, says: /signingKeysFile: it holds no key of Standard Webhooks/ },
  { name: "no rule", sink: "rules: []", says: /sinks\.shop\.rules/ },
  { name: "an unknown setting", sink: `retries: 3\nrules: [${RULE}]`, says: /retries: no such setting/ },
  { name: "a time that is too long", sink: `timeout: 5m\nrules: [${RULE}]`, says: /timeout: is 100ms to 60s/ },
];
for (const { name, sink, says } of CASES)
  t.test(`refuses ${name}`, async (t) => {
    const problems = read(sink);
    t.ok(Array.isArray(problems) && problems.some((it: string) => says.test(it)), JSON.stringify(problems));
  });

t.test("refuses a hold on a sink that a request could outlast", async (t) => {
  const file = join(folder, "lease.yaml");
  writeFileSync(
    file,
    `installation: prod\nledger: { url: "postgres://localhost/x" }\npace: { lease: 15s }\nsinks: { shop: { rules: [${RULE}] } }\n`,
  );
  t.throws(() => readConfig(RecorderConfig, { file, env: {} }), {
    message: /pace\.lease: is less than twice the timeout of the sink shop/,
  });
});

t.test("no variable stands for the sinks, which the file alone can hold", async (t) => {
  t.notOk(leaves(RecorderConfig).some(({ path }) => path[0] === "sinks"));
});

t.test("the sinks of config/recorder.yaml can be used as they are", async (t) => {
  const text = readFileSync(new URL("../../config/recorder.yaml", import.meta.url), "utf8");
  mkdirSync(join(folder, "secrets"));
  for (const name of ["bespin-token", "bespin-ca"]) writeFileSync(join(folder, "secrets", name), "x");
  writeFileSync(join(folder, "secrets/shop-signing"), `whsec_${Buffer.alloc(32, 7).toString("base64")}\n`);
  const file = join(folder, "example.yaml");
  writeFileSync(file, text.replace("sinks: {}", "sinks:").replaceAll(/^#(?= {2}\S| {4,})/gm, ""));
  t.match(readConfig(RecorderConfig, { file, env: {} }), {
    sinks: { shop: { rules: [{}] }, bespin: { rules: [{ method: "PUT" }] } },
  });
});
