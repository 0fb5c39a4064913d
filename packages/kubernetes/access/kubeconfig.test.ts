/** If a kubeconfig is wrong, or its program fails, the error names the mistake and holds no token. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import t, { type Test } from "tap";
import { openKubeconfig } from "./kubeconfig.ts";
import { virtualClock } from "../testing/virtual-clock.ts";

const CANARY = "CANARY-eyJhbGci";

/** Everything that a log could print of the error: its message, its cause and their members. */
async function refusalOf(t: Test, text: string, allowPrograms = false): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "longshore-kubeconfig-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, "config.yaml");
  await writeFile(path, text);
  const error = await openKubeconfig(path, { allowPrograms }, virtualClock()).then(
    () => undefined,
    (it: unknown) => it,
  );
  return inspect(error, { depth: 9, showHidden: true });
}

const user = (lines: string) => `apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user:\n${lines}`;

const wrong: readonly { readonly name: string; readonly text: string; readonly says: RegExp }[] = [
  {
    name: "an indentation that slips below the token",
    text: user(`    token: ${CANARY}\n   foo: bar\n`),
    says: /config\.yaml is no kubeconfig: bad indentation of a mapping entry \(line 7, column 4\)\./,
  },
  {
    name: "a quote that is not closed",
    text: user(`    token: "${CANARY}\n`),
    says: /is no kubeconfig: .* \(line \d+, column \d+\)/,
  },
  {
    name: "a comma that is missing",
    text: `{"users": [{"token": "${CANARY}" "x": 1}]}`,
    says: /missed comma.*\(line 1, column /,
  },
  {
    name: "a token that begins as an alias",
    text: user(`    token: *${CANARY}\n`),
    says: /unidentified alias \(line 6, column /,
  },
  { name: "a token that begins as a tag", text: user(`    token: !${CANARY} x\n`), says: /unknown scalar tag \(line 6, column / },
  { name: "a token twice", text: user(`    token: ${CANARY}\n    token: x\n`), says: /duplicated mapping key \(line 7, column / },
  { name: "only the token", text: CANARY, says: /names no current context|does not hold the lists/ },
  { name: "nothing in it", text: "", says: /does not hold the lists of clusters, contexts and users/ },
  {
    name: "a user without a name",
    text: `users:\n- user: { token: ${CANARY} }\n`,
    says: /is no kubeconfig: users\[0\]\.name is missing\./,
  },
];

for (const { name, text, says } of wrong) {
  t.test(`a mistake beside a token is told by its line, and not with the token: ${name}`, async (t) => {
    const said = await refusalOf(t, text);
    t.match(said, says);
    t.notMatch(said, /CANARY/);
  });
}

const programs: readonly { readonly name: string; readonly program: string; readonly says: RegExp }[] = [
  { name: "prints its token as it is", program: `console.log("${CANARY}")`, says: /gave no credential.*Run it by hand/ },
  { name: "fails, and says more than it should", program: `throw "${CANARY}"`, says: /gave no credential.*Run it by hand/ },
  { name: "prints something else", program: `console.log("{}")`, says: /printed no ExecCredential/ },
];

for (const { name, program, says } of programs) {
  t.test(`a program that ${name} is told without its output`, async (t) => {
    const said = await refusalOf(t, withExec(process.execPath, ["-e", program]), true);
    t.match(said, says);
    t.notMatch(said, /CANARY/);
  });
}

t.test("a program that is not installed is told so", async (t) => {
  t.match(await refusalOf(t, withExec("/nonexistent/get-token", []), true), /context "prod".*it is not installed here/);
});

function withExec(command: string, args: readonly string[]): string {
  return JSON.stringify({
    "current-context": "prod",
    contexts: [{ name: "prod", context: { cluster: "c", user: "u" } }],
    clusters: [{ name: "c", cluster: { server: "https://10.2.0.1:6443" } }],
    users: [{ name: "u", user: { exec: { apiVersion: "client.authentication.k8s.io/v1", command, args } } }],
  });
}
