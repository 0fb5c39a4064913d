/**
 * The launcher refuses to start with a key that could be guessed, and says how a good one is made, without quoting the key. Its
 * settings file shows each time after which a run is given up.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { durationMs } from "@longshore/contract/units.ts";
import { DEFAULTS } from "@longshore/domain/run/plan.ts";
import { ConfigProblems, readConfig } from "@longshore/runtime/config/config.ts";
import { readYaml } from "@longshore/runtime/config/yaml-text.ts";
import t from "tap";
import { LauncherConfig } from "./config.ts";

const folder = mkdtempSync(join(tmpdir(), "longshore-launcher-config-"));
t.teardown(() => rmSync(folder, { recursive: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
file("groups.yaml", "groups: {}\n");
file("key", `${"k".repeat(32)}\n`);
file("short-key", "secret\n");

function problems(keyFile: string): readonly string[] {
  const text = `installation: prod
broker: { url: "amqp://localhost" }
ledger: { url: "postgres://localhost/longshore"${keyFile === "" ? "" : `, keyFile: ${keyFile}`} }
groupsFile: groups.yaml
`;
  try {
    readConfig(LauncherConfig, { file: file("launcher.yaml", text), env: {} });
    return [];
  } catch (error) {
    if (error instanceof ConfigProblems) return error.problems;
    throw error;
  }
}

for (const { name, keyFile, want } of [
  { name: "a key of 32 bytes is enough", keyFile: "key", want: [] },
  { name: "a key that is missing", keyFile: "", want: [/ledger\.keyFile/] },
  { name: "a key file that is not there", keyFile: "nowhere", want: [/ledger\.keyFile: cannot be read/] },
  { name: "a key that could be guessed", keyFile: "short-key", want: [/ledger\.keyFile: holds fewer than 32 bytes.*openssl rand/] },
] as const) // biome-ignore format: a table
  t.test(name, async (t) => {
    const found = problems(keyFile);
    t.equal(found.length, want.length);
    t.match(found, want);
    t.notMatch(JSON.stringify(found), /secret/);
  });

t.test("config/launcher.yaml shows every code that is given up early, with its usual time", async (t) => {
  const shown = readFileSync(new URL("../../config/launcher.yaml", import.meta.url), "utf8");
  const { defaults } = readYaml(shown).value as { defaults: { giveUpAfter: Record<string, string> } };
  const times = Object.entries(defaults.giveUpAfter).map(([code, time]) => [code, durationMs(time)]);
  t.same(Object.fromEntries(times), DEFAULTS.giveUpAfterMs);
});
