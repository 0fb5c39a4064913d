/** The watcher's groups come from a file or from announcements. With both or neither it does not start, and says why. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigProblems, readConfig } from "@longshore/runtime/config/config.ts";
import t from "tap";
import { WatcherConfig } from "./config.ts";

const folder = mkdtempSync(join(tmpdir(), "longshore-watcher-config-"));
t.teardown(() => rmSync(folder, { recursive: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
file("groups.yaml", "groups: {}\n");
const ring = `${randomBytes(48).toString("base64")}\n${randomBytes(48).toString("base64")}\n`;
file("seal-key", ring);
file("short-key", "secret\n");

function read(more: string, env: Readonly<Record<string, string>> = {}): WatcherConfig | readonly string[] {
  const text = `installation: prod\nbroker: { url: "amqp://localhost" }\n${more}\n`;
  try {
    return readConfig(WatcherConfig, { file: file("watcher.yaml", text), env });
  } catch (error) {
    if (error instanceof ConfigProblems) return error.problems;
    throw error;
  }
}

t.test("a groups file alone, or a seal key alone, is enough; the key may be named by the environment", async (t) => {
  t.match(read("groupsFile: groups.yaml"), { groupsFile: join(folder, "groups.yaml") });
  for (const config of [read("sealKeyFile: seal-key"), read("", { LONGSHORE_SEAL_KEY_FILE: join(folder, "seal-key") })]) {
    const { sealKeyFile, groupsFile } = "installation" in config ? config : {};
    t.equal(sealKeyFile?.reveal(), ring.trimEnd(), "all lines of it");
    t.equal(groupsFile, undefined);
  }
});

for (const { name, more, want } of [
  { name: "neither", more: "", want: [/groupsFile: is missing; give groupsFile, or sealKeyFile .*launcher announces/] },
  { name: "both", more: "groupsFile: groups.yaml\nsealKeyFile: seal-key", want: [/groupsFile: give groupsFile or sealKeyFile, not both/] },
  { name: "a key that could be guessed", more: "sealKeyFile: short-key", want: [/sealKeyFile: holds fewer than 32 bytes.*openssl rand/] },
  { name: "a key file that is not there", more: "sealKeyFile: nowhere", want: [/sealKeyFile: cannot be read/] },
] as const) // biome-ignore format: a table
  t.test(`refuses to start: ${name}`, async (t) => {
    const problems = read(more);
    t.match(problems, want);
    t.notMatch(JSON.stringify(problems), /secret"/);
  });
