import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import t, { type Test } from "tap";
import { type ClusterSettings, connect, type CredentialSettings } from "./connect.ts";
import type { Connection } from "./connection.ts";
import { authority, clientCertificate, clientKey } from "../testing/certificates.ts";
import { type VirtualClock, virtualClock } from "../testing/virtual-clock.ts";

const server = "https://10.2.0.1:6443";
const token = "launch-token-1";

async function folder(t: Test, files: Readonly<Record<string, string>>): Promise<(name: string) => string> {
  const path = await mkdtemp(join(tmpdir(), "longshore-connect-"));
  t.teardown(() => rm(path, { recursive: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
  return (name) => join(path, name);
}

async function connected(
  cluster: ClusterSettings,
  credential: CredentialSettings,
  clock: VirtualClock = virtualClock(),
): Promise<Connection> {
  const it = await connect({ cluster, credential, clock, at: "/groups/prod-a", as: "launch" });
  if (it.kind === "refused") throw new Error(it.problems.map((problem) => `${problem.path}: ${problem.message}`).join("\n"));
  return it.connection;
}

interface Refusal {
  readonly name: string;
  readonly cluster: ClusterSettings;
  readonly credential?: CredentialSettings;
  readonly want: readonly (readonly [string, RegExp])[];
}

const files = {
  token,
  empty: "\n",
  page: "<html> not a token",
  "ca.crt": authority,
  "cut.crt": authority.replace(/[A-Za-z0-9+/=]+\n-----END/, "-----END"),
  "client.crt": clientCertificate,
  "client.key": clientKey,
  "bad.yaml": "{ apiVersion: v1, clusters: [ {} ] }",
  ...Object.fromEntries(Object.entries(users()).map(([name, user]) => [`${name}.yaml`, kubeconfig(user)])),
  "proxy.yaml": kubeconfig({ token }, { "proxy-url": "http://10.0.0.1:3128" }),
  "http.yaml": kubeconfig({ token }, { server: "http://10.0.0.1:8080" }),
};

function users(): Record<string, object> {
  return {
    good: { token },
    exec: { exec: { apiVersion: "client.authentication.k8s.io/v1", command: "/bin/touch", args: ["/nonexistent/owned"] } },
    provider: { "auth-provider": { name: "gcp", config: { "cmd-path": "/bin/touch" } } },
    password: { username: "admin", password: "hunter2" },
    impersonates: { token, as: "system:admin" },
  };
}

function kubeconfig(user: object, cluster: object = {}): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "prod",
    contexts: [
      { name: "prod", context: { cluster: "c", user: "u" } },
      { name: "orphan", context: { cluster: "nowhere", user: "u" } },
    ],
    clusters: [
      { name: "c", cluster: { server, "certificate-authority-data": Buffer.from(authority).toString("base64"), ...cluster } },
    ],
    users: [{ name: "u", user }],
  });
}

t.test("refuses, naming the path and saying what to do", async (t) => {
  const at = await folder(t, files);
  const good = { tokenFile: at("token") };
  const cases: readonly Refusal[] = [
    { name: "no cluster", cluster: {}, want: [["/cluster", /exactly one of server, kubeconfig and inCluster; none/]] },
    {
      name: "two clusters",
      cluster: { server, kubeconfig: at("good.yaml") },
      want: [["/cluster", /server and kubeconfig are there/]],
    },
    { name: "something that is no URL", cluster: { server: "10.2.0.1:6443" }, want: [["/cluster/server", /https/]] },
    { name: "http beyond loopback", cluster: { server: "http://10.2.0.1:8080" }, want: [["/cluster/server", /in clear/]] },
    { name: "another scheme", cluster: { server: "ftp://10.2.0.1" }, want: [["/cluster/server", /https, not ftp/]] },
    {
      name: "a password in the address",
      cluster: { server: "https://u:p@10.2.0.1" },
      want: [["/cluster/server", /must not hold a user/]],
    },
    { name: "the metadata service", cluster: { server: "https://169.254.169.254" }, want: [["/cluster/server", /metadata/]] },
    {
      name: "the metadata service, spelt as one number",
      cluster: { server: "https://2852039166/" },
      want: [["/cluster/server", /metadata/]],
    },
    {
      name: "the metadata service, in hexadecimal",
      cluster: { server: "https://0xa9.0xfe.0xa9.0xfe/" },
      want: [["/cluster/server", /metadata/]],
    },
    {
      name: "the metadata service, as IPv6",
      cluster: { server: "https://[::ffff:169.254.169.254]/" },
      want: [["/cluster/server", /metadata/]],
    },
    {
      name: "a CA that is not there",
      cluster: { server, caFile: at("none.crt") },
      want: [["/cluster/caFile", /none.crt cannot be read: it does not exist/]],
    },
    {
      name: "a file that is no CA",
      cluster: { server, caFile: at("token") },
      want: [["/cluster/caFile", /no certificate in PEM/]],
    },
    {
      name: "a CA that was cut",
      cluster: { server, caFile: at("cut.crt") },
      want: [["/cluster/caFile", /number 1 cannot be read/]],
    },
    {
      name: "verification that is off although there is a CA",
      cluster: { server, caFile: at("ca.crt"), insecureSkipVerify: true },
      want: [["/cluster/insecureSkipVerify", /would not be used/]],
    },
    { name: "no credential", cluster: { server }, credential: {}, want: [["/launch", /tokenFile/]] },
    {
      name: "an empty token",
      cluster: { server },
      credential: { tokenFile: at("empty") },
      want: [["/launch/tokenFile", /file \S+\/empty is empty\. Write a token into it/]],
    },
    {
      name: "a token that is something else",
      cluster: { server },
      credential: { tokenFile: at("page") },
      want: [["/launch/tokenFile", /right file/]],
    },
    {
      name: "a certificate without its key",
      cluster: { server },
      credential: { certFile: at("client.crt") },
      want: [["/launch/keyFile", /without a keyFile/]],
    },
    {
      name: "a kubeconfig that is not there",
      cluster: { kubeconfig: at("none.yaml") },
      credential: {},
      want: [["/cluster/kubeconfig", /does not exist/]],
    },
    {
      name: "a file that is no kubeconfig",
      cluster: { kubeconfig: at("bad.yaml") },
      credential: {},
      want: [["/cluster/kubeconfig", /no kubeconfig/]],
    },
    {
      name: "a context that is not in it",
      cluster: { kubeconfig: at("good.yaml"), context: "stage" },
      credential: {},
      want: [["/cluster/kubeconfig", /no context "stage"; it has prod, orphan/]],
    },
    {
      name: "a context without a cluster",
      cluster: { kubeconfig: at("good.yaml"), context: "orphan" },
      credential: {},
      want: [["/cluster/kubeconfig", /cluster that is not in the file/]],
    },
    {
      name: "a kubeconfig that wants a program run",
      cluster: { kubeconfig: at("exec.yaml") },
      credential: {},
      want: [["/cluster/kubeconfig", /exec.*allowPrograms/]],
    },
    {
      name: "a kubeconfig with an auth-provider",
      cluster: { kubeconfig: at("provider.yaml") },
      credential: {},
      want: [["/cluster/kubeconfig", /auth-provider/]],
    },
    {
      name: "a kubeconfig with a password",
      cluster: { kubeconfig: at("password.yaml") },
      credential: {},
      want: [["/cluster/kubeconfig", /password/]],
    },
    {
      name: "a kubeconfig that impersonates",
      cluster: { kubeconfig: at("impersonates.yaml") },
      credential: {},
      want: [["/cluster/kubeconfig", /impersonates/]],
    },
    {
      name: "a kubeconfig with a proxy",
      cluster: { kubeconfig: at("proxy.yaml") },
      credential: {},
      want: [["/cluster/kubeconfig", /proxy-url/]],
    },
    {
      name: "a kubeconfig in clear",
      cluster: { kubeconfig: at("http.yaml") },
      credential: {},
      want: [["/cluster/kubeconfig", /in clear/]],
    },
    { name: "a context without a kubeconfig", cluster: { server, context: "prod" }, want: [["/cluster/context", /kubeconfig/]] },
    {
      name: "everything that is wrong, at once",
      cluster: { server: "http://10.2.0.1", caFile: at("none.crt") },
      credential: { tokenFile: at("empty"), certFile: at("token") },
      want: [
        ["/cluster/server", /clear/],
        ["/launch/keyFile", /without/],
        ["/cluster/caFile", /not exist/],
        ["/launch/certFile", /PEM/],
        ["/launch/tokenFile", /empty/],
      ],
    },
  ];
  for (const { name, cluster, credential = good, want } of cases) {
    await t.test(name, async (t) => {
      const it = await connect({ cluster, credential, clock: virtualClock(), at: "/groups/prod-a", as: "launch" });
      t.match(it, { kind: "refused", problems: want.map(([path, message]) => ({ path: `/groups/prod-a${path}`, message })) });
      if (it.kind === "refused") t.equal(it.problems.length, want.length, inspect(it.problems));
    });
  }
});

t.test("verifies by the machine's trust store unless told otherwise", async (t) => {
  const plain = await connected({ server }, { token });
  t.match(await plain.trust(), { verify: true, ca: undefined });
  const insecure = await connected({ server, insecureSkipVerify: true }, { token });
  t.match(await insecure.trust(), { verify: false });
});

t.test("never shows the token", async (t) => {
  const connection = await connected({ server }, { token: "very-secret" });
  t.equal(await connection.authorization(), "Bearer very-secret");
  t.notMatch(inspect(connection, { depth: 9, showHidden: true }) + JSON.stringify(connection), /very-secret/);
});

t.test("reads the token again after a minute, and after a 401 at once", async (t) => {
  const at = await folder(t, { token: "one" });
  const clock = virtualClock();
  const connection = await connected({ server }, { tokenFile: at("token") }, clock);
  t.equal(await connection.authorization(), "Bearer one");
  await writeFile(at("token"), "two\n");
  t.equal(await connection.authorization(), "Bearer one");
  await clock.sleep(60_000);
  t.equal(await connection.authorization(), "Bearer two");
  await writeFile(at("token"), "three");
  await clock.sleep(1_000);
  t.equal(await connection.authorization(), "Bearer two");
  connection.rejected();
  t.equal(await connection.authorization(), "Bearer three");
});

t.test("keeps the token it has while the file is being replaced", async (t) => {
  const at = await folder(t, { token: "one" });
  const clock = virtualClock();
  const connection = await connected({ server }, { tokenFile: at("token") }, clock);
  await rm(at("token"));
  await clock.sleep(61_000);
  t.equal(await connection.authorization(), "Bearer one");
  await writeFile(at("token"), "two");
  await clock.sleep(61_000);
  t.equal(await connection.authorization(), "Bearer two");
});

t.test("reads CA and client certificate again, and says so only when they changed", async (t) => {
  const at = await folder(t, { "ca.crt": authority, "client.crt": clientCertificate, "client.key": clientKey });
  const clock = virtualClock();
  const connection = await connected(
    { server, caFile: at("ca.crt"), serverName: "api" },
    { certFile: at("client.crt"), keyFile: at("client.key") },
    clock,
  );
  const first = await connection.trust();
  t.same(first, { ca: authority, cert: clientCertificate, key: clientKey, serverName: "api", verify: true });
  await clock.sleep(61_000);
  t.same(await connection.trust(), first);
  await writeFile(at("ca.crt"), clientCertificate);
  await clock.sleep(61_000);
  t.match(await connection.trust(), { ca: clientCertificate });
  t.equal(await connection.authorization(), undefined);
});

t.test("files that become empty change nothing, and each is told once, by its name", async (t) => {
  const at = await folder(t, files);
  const clock = virtualClock();
  const said: string[] = [];
  const note = (message: string, fields: object = {}) => void said.push(`${message} ${JSON.stringify(fields)}`);
  const it = await connect({
    cluster: { server, caFile: at("ca.crt") },
    credential: { tokenFile: at("token") },
    clock,
    at: "/groups/prod-a",
    log: { warn: note, info: note },
  });
  if (it.kind === "refused") throw new Error(inspect(it.problems));
  const { connection } = it;
  const look = async () => [await connection.authorization(), (await connection.trust()).ca];
  const first = await look();
  for (const file of ["token", "ca.crt"]) await writeFile(at(file), "");
  for (let n = 0; n < 3; n++) {
    await clock.sleep(61_000);
    t.same(await look(), first, "they stay in use");
  }
  t.match(said, [/stays in use.*prod-a.*\/token is empty/, /stays in use.*prod-a.*\/ca\.crt is empty/]);
  t.equal(said.length, 2);
  await writeFile(at("token"), "rotated");
  await clock.sleep(61_000);
  t.match(await look(), ["Bearer rotated", first[1]]);
  t.match(said.at(-1), /can be read again.*prod-a/);
});

t.test("takes address, CA and token from a kubeconfig, and the group's own credential before its user's", async (t) => {
  const at = await folder(t, files);
  const clock = virtualClock();
  const connection = await connected({ kubeconfig: at("good.yaml") }, {}, clock);
  t.equal(connection.server, server);
  t.equal(await connection.authorization(), `Bearer ${token}`);
  t.match(await connection.trust(), { ca: authority, verify: true });
  const other = await connected({ kubeconfig: at("good.yaml") }, { token: "own" });
  t.equal(await other.authorization(), "Bearer own");

  await writeFile(at("good.yaml"), kubeconfig({ token: "rotated" }));
  await clock.sleep(61_000);
  t.equal(await connection.authorization(), "Bearer rotated");
});

t.test(
  "reads the token file that a kubeconfig names, from beside it, and again when the file was replaced or found wanting",
  async (t) => {
    const at = await folder(t, { "it.yaml": kubeconfig({ tokenFile: "it.token" }), "it.token": "first\n" });
    const clock = virtualClock();
    const connection = await connected({ kubeconfig: at("it.yaml") }, {}, clock);
    t.equal(await connection.authorization(), "Bearer first");
    await writeFile(at("it.token"), "second");
    await clock.sleep(2_000);
    connection.rejected();
    t.equal(await connection.authorization(), "Bearer second");
  },
);

t.test("runs a kubeconfig's program only if that is allowed, and uses the token that it gives", async (t) => {
  const program = `console.log(JSON.stringify({ kind: "ExecCredential", apiVersion: "client.authentication.k8s.io/v1", status: { token: "from-program" } }))`;
  const exec = { apiVersion: "client.authentication.k8s.io/v1", command: process.execPath, args: ["-e", program] };
  const at = await folder(t, { "exec.yaml": kubeconfig({ exec }) });
  const connection = await connected({ kubeconfig: at("exec.yaml"), allowPrograms: true }, {});
  t.equal(await connection.authorization(), "Bearer from-program");
});

t.test("says when a service account's token ends", async (t) => {
  const jwt = ["e30", Buffer.from(JSON.stringify({ exp: 1_900_000_000 })).toString("base64url"), "c2ln"].join(".");
  const connection = await connected({ server }, { token: jwt });
  await connection.authorization();
  t.equal(connection.tokenTimes()?.expiresAtMs, 1_900_000_000_000);
  const opaque = await connected({ server }, { token: "a.b.c" });
  await opaque.authorization();
  t.equal(opaque.tokenTimes(), undefined);
});
