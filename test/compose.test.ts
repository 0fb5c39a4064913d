/**
 * docker-compose.yml, the Dockerfiles and the example configs, checked against each other and the checkout.
 *
 * No engine runs them here, so the test reads them and looks for mistakes: a path that does not exist, a variable that is no
 * setting, a port on which nothing listens, a file that the image lacks.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { ConsoleConfig } from "@longshore/console/config.ts";
import { GroupsFile } from "@longshore/kubernetes/groups.ts";
import { LauncherConfig } from "@longshore/launcher/config.ts";
import { readConfig } from "@longshore/runtime/config/config.ts";
import { secretOf } from "@longshore/runtime/config/secret-settings.ts";
import { environmentName, leaves } from "@longshore/runtime/config/shape.ts";
import { RecorderConfig } from "@longshore/recorder/config.ts";
import { WatcherConfig } from "@longshore/watcher/config.ts";
import t from "tap";
import { parse } from "yaml";
import { z } from "zod";
import { isTest } from "./tidy/rule.ts";
import { readTree } from "./tidy/source.ts";

const root = resolve(import.meta.dirname, "..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

const Ports = z.array(z.string().regex(/^127\.0\.0\.1:\d+:\d+$/, "published on loopback only, as 127.0.0.1:PORT:PORT"));
const Service = z.strictObject({
  image: z
    .string()
    .regex(/:\d+(\.\d+)*(-\w+)?$/, "an image with its version")
    .optional(),
  build: z.strictObject({ context: z.literal("."), dockerfile: z.string() }).optional(),
  hostname: z.string().optional(),
  profiles: z.tuple([z.enum(["nats", "recorder", "console"])]).optional(),
  network_mode: z.literal("host").optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()),
  ports: Ports,
  volumes: z.array(z.string()),
  secrets: z.array(z.strictObject({ source: z.string(), target: z.string() })).default([]),
  user: z.string().optional(),
  depends_on: z.record(z.string(), z.strictObject({ condition: z.literal("service_healthy") })).default({}),
  healthcheck: z.strictObject({
    test: z.array(z.string()).min(2),
    interval: z.string(),
    timeout: z.string(),
    retries: z.number(),
  }),
  read_only: z.literal(true).optional(),
  cap_drop: z.tuple([z.literal("ALL")]).optional(),
  security_opt: z.tuple([z.literal("no-new-privileges:true")]).optional(),
  stop_grace_period: z.literal("30s").optional(),
  restart: z.literal("unless-stopped"),
});
const Compose = z.strictObject({
  name: z.literal("longshore"),
  services: z.record(z.string(), Service),
  volumes: z.record(z.string(), z.null()),
  secrets: z.record(z.string(), z.strictObject({ file: z.string() })),
});

const text = read("docker-compose.yml");
const compose = Compose.parse(parse(text, { merge: true }));
const services = Object.entries(compose.services);
const ours = services.filter(([, it]) => it.build !== undefined);

/** Reads the configs as each program does in its container. Only the secrets are made up, since nobody has them here. */
const made = mkdtempSync(join(tmpdir(), "longshore-compose-"));
process.once("exit", () => rmSync(made, { recursive: true })); // even if a later line throws
for (const name of ["launcher.yaml", "watcher.yaml", "recorder.yaml", "console.yaml"])
  writeFileSync(join(made, name), read(`config/${name}`));
writeFileSync(join(made, "groups.yaml"), withExample(read("config/groups.yaml")));
mkdirSync(join(made, "secrets"));
mkdirSync(join(made, "definitions"));
for (const name of Object.keys(compose.secrets)) writeFileSync(join(made, "secrets", name), "0123456789abcdef0123456789abcdef\n");
/** Returns the path that a file of the made folder has in the container. */
const inContainer = (file: string | undefined): string => join("/etc/longshore", relative(made, file ?? ""));

const environmentOf = (name: string): Record<string, string> =>
  Object.fromEntries(
    Object.entries(compose.services[name]?.environment ?? {}).map(([key, value]) => [
      key,
      value.replaceAll(/\$\{\w+:-([^}]*)\}/g, "$1"),
    ]),
  );
const { groups } = readConfig(GroupsFile, { file: join(made, "groups.yaml"), env: {} });

/** The launcher's settings in a service, as far as docker-compose.yml has to agree with them. */
function launcherIn(service: string) {
  const launcher = readConfig(LauncherConfig, { file: join(made, "launcher.yaml"), env: environmentOf(service) });
  const files = [
    join(made, "secrets/ledger-key"),
    ...Object.values(groups).flatMap((it) => [it.cluster.caFile, it.launch?.tokenFile]),
  ];
  const urls = [secretOf(launcher.broker, "url"), secretOf(launcher.ledger, "url")];
  return { ...launcher, program: "launcher", urls, files, settings: LauncherConfig } as const;
}

function watcherIn(service: string) {
  const watcher = readConfig(WatcherConfig, { file: join(made, "watcher.yaml"), env: environmentOf(service) });
  const files = Object.values(groups).flatMap((it) => [it.cluster.caFile, it.watch?.tokenFile]);
  return { ...watcher, program: "watcher", urls: [secretOf(watcher.broker, "url")], files, settings: WatcherConfig } as const;
}

function recorderIn(service: string) {
  const recorder = readConfig(RecorderConfig, { file: join(made, "recorder.yaml"), env: environmentOf(service) });
  return {
    ...recorder,
    program: "recorder",
    groupsFile: undefined,
    urls: [secretOf(recorder.ledger, "url")],
    files: [],
    settings: RecorderConfig,
  } as const;
}

/** The console shares the machine's network: its ports need no publishing, and its servers are where they are published. */
function consoleIn(service: string) {
  const page = readConfig(ConsoleConfig, { file: join(made, "console.yaml"), env: environmentOf(service) });
  return {
    ...page,
    program: "console",
    groupsFile: undefined,
    urls: [secretOf(page.broker, "url"), secretOf(page.ledger, "url")],
    files: [],
    settings: ConsoleConfig,
  } as const;
}

/** The settings of each service. */
const CONFIGS = {
  launcher: launcherIn("launcher"),
  watcher: watcherIn("watcher"),
  "launcher-nats": launcherIn("launcher-nats"),
  "watcher-nats": watcherIn("watcher-nats"),
  recorder: recorderIn("recorder"),
  console: consoleIn("console"),
} as const;
const BROKERS = { rabbitmq: ["launcher", "watcher", "console"], nats: ["launcher-nats", "watcher-nats"] } as const;

/** The ports on which the other images' servers listen inside their containers. */
const SERVES: Readonly<Record<string, readonly number[]>> = {
  rabbitmq: [5672, 15672],
  nats: [4222],
  postgres: [5432],
  "127.0.0.1": services.flatMap(([, it]) => it.ports.map((port) => Number(port.split(":")[1]))),
};

t.test(
  "has four services, the profile nats with three more and the profiles recorder and console with one, each with an image or a Dockerfile",
  async (t) => {
    const named = (profile: string | undefined) =>
    services.filter(([, it]) => it.profiles?.[0] === profile).map(([name]) => name).toSorted(); // biome-ignore format: one value
    t.same(named(undefined), ["launcher", "postgres", "rabbitmq", "watcher"]);
    t.same(named("nats"), ["launcher-nats", "nats", "watcher-nats"]);
    t.same(named("recorder"), ["recorder"]);
    t.same(named("console"), ["console"]);
    for (const [name, it] of services) t.not(it.image === undefined, it.build === undefined, name);
    for (const [name, it] of ours)
      t.ok(
        it.read_only && it.cap_drop && it.security_opt && it.stop_grace_period,
        `${name} is confined, and given its time to stop`,
      );
  },
);

t.test("every variable has a default, and the comment at its top names it", async (t) => {
  const comment = text.slice(0, text.indexOf("\nname:"));
  for (const [whole, name = ""] of text.matchAll(/\$\{([^}:]*)[^}]*\}/g)) {
    t.match(whole, /^\$\{[A-Z_]+:-[^}]+\}$/, whole);
    t.match(comment, name, `${name} is explained`);
  }
});

t.test("both sides of a password read the same variable", async (t) => {
  const { rabbitmq, postgres, launcher, nats } = compose.services;
  const password = rabbitmq?.environment["RABBITMQ_DEFAULT_PASS"];
  for (const name of Object.values(BROKERS).flat())
    t.equal(compose.services[name]?.environment["LONGSHORE_BROKER_PASSWORD"], password);
  const ledger = `postgres://${postgres?.environment["POSTGRES_USER"]}:${postgres?.environment["POSTGRES_PASSWORD"]}@postgres:5432/${postgres?.environment["POSTGRES_DB"]}`;
  for (const it of [launcher, compose.services["recorder"]]) t.equal(it?.environment["LONGSHORE_LEDGER_URL"], ledger);
  t.equal(compose.services["console"]?.environment["LONGSHORE_LEDGER_URL"], ledger.replace("@postgres:", "@127.0.0.1:"));
  const userOf = (name: (typeof BROKERS)[keyof typeof BROKERS][number]) => secretOf(CONFIGS[name].broker, "user")?.reveal();
  for (const name of BROKERS.rabbitmq) t.equal(userOf(name), rabbitmq?.environment["RABBITMQ_DEFAULT_USER"]);
  const users = [...read("deploy/nats/users.conf").matchAll(/\{ user: (\w+), password: \$(\w+)/g)];
  t.same(users.map(([, user]) => user), ["launcher", "watcher", "console", "upstream", "operator"]); // biome-ignore format: one value
  for (const [, , variable = ""] of users) t.equal(nats?.environment[variable], password, variable);
  for (const name of BROKERS.nats) t.ok(users.some(([, user]) => user === userOf(name)), `${name} is a user of NATS`); // biome-ignore format: one value
});

t.test("every mounted path is in the checkout, or is a secret that git ignores and the comment explains", async (t) => {
  for (const [name, it] of services) {
    for (const volume of it.volumes) {
      const [from = ""] = volume.split(":");
      t.ok(from.startsWith("./") ? existsSync(join(root, from)) : from in compose.volumes, `${name}: ${volume}`);
    }
    for (const { source } of it.secrets) t.ok(source in compose.secrets, `${name}: secret ${source}`);
  }
  t.match(read(".gitignore"), /^config\/\*\*\/secrets\/$/m);
  for (const [name, { file }] of Object.entries(compose.secrets)) {
    t.equal(file, `./config/secrets/${name}`);
    t.match(text, `#       config/secrets/${name} `, `${name} is explained`);
    t.ok(
      services.some(([, it]) => it.secrets.some(({ source }) => source === name)),
      `${name} is used`,
    );
  }
  for (const name of Object.keys(compose.volumes))
    t.ok(
      services.some(([, it]) => it.volumes.some((volume) => volume.startsWith(`${name}:`))),
      `${name} is used`,
    );
});

t.test("a service waits only for services that say when they are ready", async (t) => {
  for (const [name, it] of services)
    for (const other of Object.keys(it.depends_on)) t.ok(other in compose.services, `${name} waits for ${other}`);
  for (const [broker, names] of Object.entries(BROKERS))
    for (const name of names) t.ok(broker in (compose.services[name]?.depends_on ?? {}), `${name} waits for ${broker}`);
});

t.test("every variable that is given to a program of ours is one of its settings", async (t) => {
  for (const [name, { settings }] of Object.entries(CONFIGS)) {
    const known = leaves(settings).map((it) => environmentName(it.path));
    for (const variable of Object.keys(environmentOf(name))) t.ok(known.includes(variable), `${name}: ${variable}`);
  }
});

for (const [name, config] of Object.entries(CONFIGS)) {
  const service = compose.services[name];
  if (service === undefined) throw new Error(`docker-compose.yml has no service ${name}`);

  t.test(`${name}: ports agree from the config to the published one`, async (t) => {
    const port = Number(config.http.listen.split(":").at(-1));
    const isOnHost = service.network_mode === "host";
    t.same(
      service.ports.map((it) => Number(it.split(":")[2])),
      isOnHost ? [] : [port],
      "compose publishes it",
    );
    const health = "health" in config.http ? Number(config.http.health.split(":").at(-1)) : port;
    t.match(service.healthcheck.test.join(" "), `http://127.0.0.1:${health}/healthz`, "the health check asks it");
    const exposed = instructions(config.program).filter((it) => it.word === "EXPOSE");
    t.ok(
      exposed.some((it) => it.rest.split(" ").includes(String(port))),
      "the image exposes it",
    );
    for (const url of config.urls) {
      const { hostname, port: at } = new URL(url?.reveal() ?? "");
      t.ok(SERVES[hostname]?.includes(Number(at)), `${hostname}:${at} is served here`);
    }
  });

  t.test(`${name}: the files that its settings name are mounted, and no secret besides`, async (t) => {
    const mounted = service.volumes.map((it) => it.split(":")[1]);
    const command = JSON.parse(instructions(config.program).find((it) => it.word === "CMD")?.rest ?? "[]") as string[];
    const named = [config.groupsFile, "definitionsDir" in config ? config.definitionsDir : undefined];
    const inOwn = named.flatMap((it) => (it === undefined ? [] : [`/etc/longshore/${basename(it)}`]));
    for (const path of [command[1], ...inOwn]) t.ok(mounted.includes(path), `${path}`);
    t.same(service.secrets.map(({ target }) => target).toSorted(), config.files.map(inContainer).toSorted());
    for (const { source, target } of service.secrets) t.equal(basename(target), source);
  });

  t.test(`${name}: the image holds all that it imports, builds nothing and does not run as root`, async (t) => {
    const lines = instructions(config.program);
    t.match(service.build?.dockerfile, `services/${config.program}/Dockerfile`);
    t.match(lines[0], { word: "FROM", rest: /^node:24-/ });
    const last = lines.findLastIndex((it) => it.word === "FROM");
    const copies = lines.slice(last).filter((it) => it.word === "COPY");
    const copied = copies.filter((it) => !it.rest.startsWith("--from=")).flatMap((it) => it.rest.split(" ").slice(0, -1));
    for (const path of copied) t.ok(existsSync(join(root, path)), `COPY ${path}`);
    for (const path of needs(`services/${config.program}/`))
      t.ok(
        copied.some((it) => path.startsWith(`${it}/`)),
        path,
      );
    for (const path of ["package.json", "package-lock.json"]) t.ok(copied.includes(path), path);
    const entry = JSON.parse(lines.find((it) => it.word === "ENTRYPOINT")?.rest ?? "[]") as string[];
    t.ok(existsSync(join(root, entry[1]?.replace("/app/", "") ?? "")), `${entry.join(" ")} is there`);
    t.equal(service.user, "${RUN_AS:-1000:1000}", "whoever may read the secrets; 1000 is the image's own user");
    const user = lines.findIndex((it) => it.word === "USER");
    t.equal(lines[user]?.rest, "node");
    t.ok(
      lines.findIndex((it) => it.rest.startsWith("npm install")) < user,
      "what is installed belongs to root: the program cannot change itself",
    );
  });
}

t.test("the recorder's image holds nothing of clusters and brokers, and it has no key", async (t) => {
  t.notMatch(read("services/recorder/Dockerfile"), /COPY packages\/(kubernetes|broker)/);
  t.same(compose.services["recorder"]?.secrets, []);
});

t.test("the console's image holds the page as esbuild made it, no esbuild, and nothing of clusters", async (t) => {
  const lines = instructions("console");
  const [made, kept] = lines.flatMap((it, at) => (it.word === "FROM" ? [lines.slice(at + 1)] : []));
  const page = "node_modules/.cache/longshore/page.json";
  const install = (stage: typeof made) => stage?.find((it) => it.rest.startsWith("npm install"))?.rest;
  t.notMatch(install(made), "--omit=optional");
  t.ok(made?.some((it) => it.rest.includes('import("/app/services/console/bundle.ts")).bundlePage()')));
  t.match(install(kept), "--omit=optional");
  t.ok(kept?.some((it) => it.rest === `--from=page /app/${page} ${page}`));
  t.match(JSON.parse(read("services/console/package.json")).optionalDependencies, { esbuild: /\d/ });
  t.match(read("services/console/bundle.ts"), `../../${page}`);
  t.notMatch(read("services/console/Dockerfile"), "COPY packages/kubernetes");
  t.same(compose.services["console"]?.secrets, []);
});

t.test("the watcher's image holds neither the ledger nor its key", async (t) => {
  t.notMatch(read("services/watcher/Dockerfile"), "COPY packages/ledger");
  t.notMatch(JSON.stringify(compose.services["watcher"]?.secrets), "ledger-key");
});

for (const name of ["launcher", "watcher", "recorder", "console"])
  t.test(`every file that the ${name}'s image runs or loads is in the checkout`, (t) => {
    const files = [...read(`services/${name}/Dockerfile`).matchAll(/\/app\/([\w./-]+\.ts)/g)].map(([, file]) => file ?? "");
    t.ok(files.length >= 2, "it names some");
    for (const file of files) t.ok(existsSync(join(root, file)), file);
    t.end();
  });

/** Compiling one file while the program runs loads Node's compiler for TypeScript: about 30 MB more for as long as it runs. */
for (const name of ["launcher", "watcher", "recorder", "console"])
  t.test(`the ${name}'s image compiles beforehand what the program imports later`, (t) => {
    const run = instructions(name).findLast(({ word, rest }) => word === "RUN" && rest.startsWith("node --eval"))?.rest ?? "";
    const later = [...needs(`services/${name}/main.ts`)].flatMap((file) =>
      [...read(file).matchAll(/\bimport\("(\.[^"]+)"\)/g)].map(([, to = ""]) => join(dirname(file), to)),
    );
    t.ok(later.length > 0, "it imports some");
    for (const file of later) t.ok(run.includes(`import("/app/${file}")`), file);
    t.end();
  });

/** Returns the groups file with its example in use, as the file's first lines advise. */
function withExample(text: string): string {
  return text.replace("groups: {}", "groups:").replaceAll(/^#(?= {2})/gm, "");
}

interface Instruction {
  readonly word: string;
  readonly rest: string;
}

function instructions(name: string): Instruction[] {
  const lines = read(`services/${name}/Dockerfile`)
    .replaceAll(/\\\n\s*/g, " ")
    .split("\n");
  return lines.flatMap((line) => {
    const [, word, rest] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    return word === undefined || rest === undefined ? [] : [{ word, rest }];
  });
}

/** Returns every file of ours that the files in this folder import, directly or through others. */
function needs(folder: string): Set<string> {
  const sources = new Map(readTree(root).sources.map((it) => [it.path, it]));
  const found = new Set([...sources.keys()].filter((path) => path.startsWith(folder) && !isTest(path)));
  for (const path of found) for (const { file } of sources.get(path)?.imports ?? []) if (file !== undefined) found.add(file);
  return found;
}
