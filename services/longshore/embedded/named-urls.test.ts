/** The URLs of `up` come from options, variables and files, and no text that is none is printed. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { urlNamed, withoutUrls } from "./named-urls.ts";

const cwd = await mkdtemp(join(tmpdir(), "longshore-urls-"));
t.teardown(() => rm(cwd, { recursive: true, force: true }));
await writeFile(join(cwd, "broker-url"), "amqp://of:file@host/\n");
const VARIABLE = { LONGSHORE_BROKER_URL: "amqp://of:variable@host/" };
const FILE = { LONGSHORE_BROKER_URL_FILE: "broker-url" };

for (const { name, option, env, want } of [
  { name: "nobody names one", option: undefined, env: {}, want: undefined },
  { name: "the option goes first", option: "amqp://of:option@host/", env: VARIABLE, want: "amqp://of:option@host/" },
  { name: "a variable has it", option: undefined, env: VARIABLE, want: "amqp://of:variable@host/" },
  { name: "a file of this folder has it", option: undefined, env: FILE, want: "amqp://of:file@host/" },
])
  t.test(name, async (t) => t.equal(await urlNamed("broker", option, { env, cwd }), want));

for (const { name, env, want } of [
  { name: "two that may differ", env: { ...VARIABLE, ...FILE }, want: /are both set: unset one$/ },
  {
    name: "a file that is not there",
    env: { LONGSHORE_BROKER_URL_FILE: "nowhere" },
    want: /nowhere.*cannot be read \(ENOENT\)$/,
  },
  {
    name: "a text that is no URL",
    env: { LONGSHORE_BROKER_URL: "CANARY" },
    want: /^LONGSHORE_BROKER_URL is no URL: (?!.*CANARY)/,
  },
])
  t.test(`refuses ${name}`, async (t) => t.rejects(urlNamed("broker", undefined, { env, cwd }), { message: want }));

t.test("the programs read the files that are written for them, and not these variables again", async (t) => {
  t.same(withoutUrls({ ...VARIABLE, ...FILE, LONGSHORE_LOG_LEVEL: "info" }), { LONGSHORE_LOG_LEVEL: "info" });
});
