/**
 * One setting lets our token go to any server that answers. Each program that is started with this setting warns of it in its
 * log.
 */
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { parse, stringify } from "yaml";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using system = await openSystem();
const file = path.join(system.home, "groups.yaml");
const { groups } = parse(await readFile(file, "utf8")) as { readonly groups: Readonly<Record<string, { cluster: object }>> };
const [name = "", group] = Object.entries(groups)[0] ?? [];
const insecure = { ...group, cluster: { ...group?.cluster, insecureSkipVerify: true } };

for (const service of ["launcher", "watcher"] as const)
  for (const { settings, says } of [
    {
      settings: { [name]: insecure },
      says: /"group":"pocket","server":"http:[^"]*","why":"The cluster's certificate is not verified/,
    },
    { settings: groups, says: undefined },
  ])
    await t.test(`the ${service} ${says ? "says" : "does not say"} that a certificate is not verified`, async (t) => {
      await writeFile(file, stringify({ groups: settings }), { mode: 0o600 });
      await using program = await system[service]();
      const said = program.said.join("\n");
      if (says === undefined) t.notMatch(said, /not verified/);
      else t.match(said, says);
    });
