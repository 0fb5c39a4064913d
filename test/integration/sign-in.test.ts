/**
 * Signing in to the web console: programs by tokens, people at a real issuer of OpenID Connect or by a proxy in front of the
 * console, on a real Postgres.
 *
 * The failures this prevents: a token that outlives its end, a sign-in that somebody else can finish or lead elsewhere, an assertion
 * that anybody can write, and a name that was made to point at the console.
 */
// runs at most 6 min
import { once } from "node:events";
import { type IncomingMessage, request as httpRequest, createServer } from "node:http";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { ConsoleConfig } from "@longshore/console/config.ts";
import { type OnListening, webConsole } from "@longshore/console/main.ts";
import { hashOf, newLink, newProgramToken } from "@longshore/console/sign-in/tokens.ts";
import { RunId } from "@longshore/contract/ids.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from "jose";
import t from "tap";
import { CLIENT, testIssuer } from "../harness/issuer.ts";
import { longshore } from "../harness/longshore.ts";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const PUBLIC = "https://jobs.example";
const folder = await mkdtemp(path.join(tmpdir(), "longshore-sign-in-"));
t.teardown(() => rm(folder, { recursive: true, force: true }));
await writeFile(path.join(folder, "greet.yaml"), "name: greet\nimage: busybox\ncommand: [sh, -c, 'echo hello']\n");
const secretFile = path.join(folder, "client-secret");
await writeFile(secretFile, `${CLIENT.secret}\n`);
const wrongSecretFile = path.join(folder, "wrong-secret");
await writeFile(wrongSecretFile, "another\n");

await using system = await openSystem({ launcher: { definitionsDir: folder } });
await using _launcher = await system.launcher();
await using issuer = await testIssuer(`${PUBLIC}/sign-in/back`, {
  ada: { sub: "ada", name: "Ada Lovelace", groups: ["ops"] },
  "token:nightly": { sub: "token:nightly", name: "Eve", groups: ["ops"] },
});
const proxy = await generateKeyPair("ES256");
const stranger = await generateKeyPair("ES256");
const published = JSON.stringify({ keys: [{ ...(await exportJWK(proxy.publicKey)), alg: "ES256" }] });
const keys = createServer((_, response) => response.end(published)).listen(0, "127.0.0.1");
await once(keys, "listening");
t.teardown(() => keys.close());

const ASSERTED = { header: "x-assertion", issuer: "https://proxy.example", audience: "longshore" };
const OIDC = { issuer: issuer.url, clientId: CLIENT.id, clientSecretFile: secretFile, scopes: ["openid", "profile", "groups"] };
const access = [
  { who: { team: "ops" }, may: ["operator"] },
  { who: { team: "admin" }, may: ["admin"] },
  { who: { token: "nightly" }, may: ["runner"], definitions: ["greet"] },
];

const stop = new AbortController();
const running: Promise<unknown>[] = [];
t.teardown(async () => {
  stop.abort();
  await Promise.all(running);
});

interface Asking {
  readonly cookie?: string | undefined;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Starts a console, and asks it as something in front of it does that has TLS. */
async function started(signIn: object, http: object = {}) {
  const config = ConsoleConfig.parse({
    ...{ installation: "local", broker: { url: system.postgres.url }, ledger: { url: system.postgres.url }, access, signIn },
    http: { listen: "127.0.0.1:0", health: "127.0.0.1:0", publicUrl: PUBLIC, ...http },
  });
  const listening = Promise.withResolvers<Parameters<OnListening>[0]>();
  const ended = webConsole(config, silentLog, stop.signal, async (at) => listening.resolve(at));
  ended.catch((error: unknown) => listening.reject(error));
  running.push(ended);
  const { pages, port, health } = await listening.promise;
  const ask = async (target: string, { cookie, body, headers = {} }: Asking = {}): Promise<Answer> => {
    const asking = httpRequest(`http://127.0.0.1:${port}${target}`, {
      method: body === undefined ? "GET" : "POST",
      headers: {
        host: new URL(PUBLIC).host,
        ...(body !== undefined && { "content-type": "application/json" }),
        ...(cookie !== undefined && { cookie }),
        ...headers,
      },
    });
    asking.end(body === undefined ? undefined : JSON.stringify(body));
    const [answer] = (await once(asking, "response")) as [IncomingMessage];
    let text = "";
    for await (const piece of answer.setEncoding("utf8")) text += String(piece);
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: text };
  };
  return { ask, pages, health };
}

const cookieIn = ({ headers }: Answer, begins: string): string =>
  headers["set-cookie"]?.find((it) => it.startsWith(begins))?.split(";")[0] ?? "";
const locationOf = ({ headers }: Answer): string => headers.location ?? "";
const SESSION = "__Host-longshore=";
const SIGNING_IN = "__Host-longshore-signing-in=";

const whole = await started({
  oidc: OIDC,
  proxy: { ...ASSERTED, jwks: `http://127.0.0.1:${(keys.address() as AddressInfo).port}/`, idClaim: "email" },
});
const { ask, pages } = whole;

/** Goes to the issuer and back, as a browser does, and returns the console's answer to that. */
async function signIn(how: { readonly as: string } | "refused", to = "/", at: typeof ask = ask): Promise<Answer> {
  const there = await at(`/sign-in?${new URLSearchParams({ to }).toString()}`);
  const back = await issuer.visit(locationOf(there), how);
  return await at(back.slice(PUBLIC.length), { cookie: cookieIn(there, SIGNING_IN) });
}

await t.test("somebody whom the issuer names is signed in, as who they are and with their teams", async (t) => {
  const there = await ask("/sign-in?to=/run%3Fid%3Da");
  t.equal(there.status, 302);
  const asked = new URL(locationOf(there)).searchParams;
  t.match(Object.fromEntries(asked), { response_type: "code", code_challenge_method: "S256", redirect_uri: `${PUBLIC}/sign-in/back` });
  const kept = there.headers["set-cookie"]?.[0] ?? "";
  t.match(kept, /^__Host-longshore-signing-in=[^;]+; Max-Age=600; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
  const secret = kept.split("=")[1]?.split(".")[0] ?? "";
  for (const it of asked.values()) t.notMatch(it, secret, "the browser's secret goes nowhere");

  const answer = await ask((await issuer.visit(locationOf(there), { as: "ada" })).slice(PUBLIC.length), { cookie: cookieIn(there, SIGNING_IN) });
  t.match(answer, { status: 302, headers: { location: "/run?id=a" } });
  const set = answer.headers["set-cookie"]?.find((it) => it.startsWith(SESSION)) ?? "";
  t.match(set, /; Max-Age=43200; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
  t.match(answer.headers["strict-transport-security"], /max-age=\d+$/);
  const cookie = cookieIn(answer, SESSION);
  const me = JSON.parse((await ask("/v1/me", { cookie })).body);
  t.match(me.mark, /^[0-9a-z]{6}$/);
  t.same(me, { name: "Ada Lovelace", installation: "local", may: ["see", "log", "run", "stop", "operate"], seesRefused: true, mark: me.mark, hasSession: true });

  const renewed = await signIn({ as: "ada" }, "/", (target, asking) => ask(target, { cookie: [cookie, asking?.cookie ?? ""].join("; ") }));
  t.match(await ask("/v1/me", { cookie }), { status: 401 }, "the session from before is over");
  const next = cookieIn(renewed, SESSION);
  t.match(await ask("/v1/leave", { cookie: next, body: {} }), { status: 204 });
  t.match(await ask("/v1/me", { cookie: next }), { status: 401, body: '"signIn":"/sign-in"' }, "who signs out is out, and told the way in");
}); // biome-ignore format: as it is read

await t.test("a sign-in leads to no page of anybody else", async (t) => {
  for (const to of ["https://evil.example/", "//evil.example", "/\\evil.example", "/.//evil.example", "/v1/leave", "javascript:alert(1)"])
    t.equal(locationOf(await signIn({ as: "ada" }, to)), "/", to);
  const there = await ask("/sign-in");
  const back = await issuer.visit(locationOf(there), { as: "ada" });
  const forged = `${cookieIn(there, SIGNING_IN).split(".")[0]}.${Buffer.from("//evil.example").toString("base64url")}`;
  t.equal(locationOf(await ask(back.slice(PUBLIC.length), { cookie: forged })), "/", "nor if the cookie says so");
}); // biome-ignore format: as it is read

await t.test("a sign-in is finished by the browser that began it, once", async (t) => {
  const stale = "/signed-out?why=stale&to=%2F";
  const theirs = await ask("/sign-in");
  const back = (await issuer.visit(locationOf(theirs), { as: "ada" })).slice(PUBLIC.length);
  t.equal(locationOf(await ask(back)), stale, "no browser of ours");
  const other = await ask("/sign-in");
  t.equal(locationOf(await ask(back, { cookie: cookieIn(other, SIGNING_IN) })), stale, "another browser");
  const swapped = new URL(back, PUBLIC);
  swapped.searchParams.set("state", new URL(locationOf(other)).searchParams.get("state") ?? "");
  const stolen = await ask(swapped.pathname + swapped.search, { cookie: cookieIn(other, SIGNING_IN) });
  t.match(locationOf(stolen), /^\/signed-out\?why=/, "a code that was read on its way");
  t.equal(cookieIn(stolen, SESSION), "");
  const again = await signIn({ as: "ada" });
  t.not(cookieIn(again, SESSION), "", "and the right one is let in after all");
});

await t.test("each failure at the issuer is told on a page, and signs nobody in", async (t) => {
  const wrong = await started({ oidc: { ...OIDC, clientSecretFile: wrongSecretFile } });
  const away = await started({ oidc: { ...OIDC, issuer: "http://127.0.0.1:9" } });
  for (const [why, answer] of [
    ["refused", await signIn("refused", "/runs")],
    ["nobody", await signIn({ as: "token:nightly" }, "/runs")],
    ["secret", await signIn({ as: "ada" }, "/runs", wrong.ask)],
    ["away", await away.ask("/sign-in?to=/runs")],
  ] as const) {
    t.equal(locationOf(answer), `/signed-out?why=${why}&to=%2Fruns`, why);
    t.equal(cookieIn(answer, SESSION), "", why);
  }
  t.match(await ask("/signed-out?why=refused"), { status: 200, body: '<div id="page">' });
});

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

await t.test("a program asks with its token, by the rules for it, and gets no session", async (t) => {
  const token = newProgramToken();
  t.ok(await pages.tokens.add("nightly", hashOf(token), 60_000));
  t.notOk(await pages.tokens.add("nightly", hashOf(newProgramToken()), 60_000), "a name is taken once");
  const { mark } = JSON.parse((await ask("/v1/me", { headers: bearer(token) })).body);
  const run = RunId.parse(`greet/by-token-${mark}`);
  const body = { run, definition: "greet" };
  const asked = await ask("/v1/runs", { body, headers: { ...bearer(token), origin: "https://elsewhere.example" } });
  t.match(asked, { status: /20[12]/ }, asked.body);
  t.equal(asked.headers["set-cookie"], undefined);
  await system.until("its run", async () => (await pages.find(run)) !== undefined);
  t.match(JSON.parse((await ask(`/v1/run?id=${run}`, { headers: bearer(token) })).body), { by: { name: "nightly", id: "token:nightly" } });
  t.match(await ask("/v1/audit", { headers: bearer(token) }), { status: 403 }, "no rule lets it");
  const link = new URL(await newLink(pages.signIns, PUBLIC, { name: "Bo" })).hash.slice(1);
  const entered = await ask("/v1/enter", { body: { token: link }, headers: bearer(token) });
  t.match(entered, { status: 403, body: "gets no session" });
  t.equal(entered.headers["set-cookie"], undefined);
  t.match(JSON.parse((await ask("/v1/me", { headers: bearer(token) })).body), { name: "nightly", hasSession: false });
  t.equal(cookieIn(await signIn({ as: "token:nightly" }), SESSION), "", "and nobody is called as it is");

  t.ok(await pages.tokens.remove("nightly"));
  t.match(await ask("/v1/me", { headers: bearer(token) }), { status: 401, body: "There is no such token", headers: { "www-authenticate": "Bearer" } });
  const old = newProgramToken();
  await pages.tokens.add("old", hashOf(old), -1_000);
  t.match(await ask("/v1/me", { headers: bearer(old) }), { status: 401, body: "The token old was good until " });
  const cookie = cookieIn(await signIn({ as: "ada" }), SESSION);
  t.match(await ask("/v1/me", { headers: bearer(old), cookie }), { status: 401 }, "also beside a session");
  await pages.tokens.remove("old");
}); // biome-ignore format: as it is read

await t.test("the command line makes a token, shows it once, lists it and removes it", async (t) => {
  const config = ["--config", path.join(system.home, "launcher.yaml")];
  const token = (...words: readonly string[]) => longshore(folder, "token", ...words, ...config);
  t.match(await token("list"), { code: 0, out: "no tokens" });
  const made = await token("add", "by-hand", "--for", "1d");
  t.match(made, { code: 0, out: /^lsk_[\w-]{32}\n$/, err: /shown once[^]*token: by-hand/ });
  const headers = bearer(made.out.trim());
  t.match(await ask("/v1/me", { headers }), { status: 200, body: '"name":"by-hand"' });
  t.match(await token("add", "by-hand"), { code: 1, err: "longshore token remove by-hand" });
  t.match(await token("add", "By Hand"), { code: 64, err: "small letters" });
  t.match(await token("add", "other", "--for", "2y"), { code: 64, err: "--for is a duration" });
  const listed = await token("list", "--json");
  t.match(JSON.parse(listed.out), [{ name: "by-hand", state: "good" }]);
  t.notMatch(listed.out, "lsk_");
  t.match(await token("remove", "by-hnd"), { code: 1, err: "there is by-hand; did you mean by-hand?" });
  t.match(await token("remove", "by-hand"), { code: 0 });
  t.match(await ask("/v1/me", { headers }), { status: 401, body: "There is no such token" });
});

const assertionBy = (key: CryptoKey, until = "1m", claims: object = {}) =>
  new SignJWT({
    email: "grace@shop.example",
    name: "Grace",
    groups: ["ops"],
    iss: ASSERTED.issuer,
    aud: ASSERTED.audience,
    ...claims,
  })
    .setProtectedHeader({ alg: "ES256" })
    .setExpirationTime(until)
    .sign(key);

await t.test("a proxy's assertion names a person as long as it is good, and nothing else does", async (t) => {
  const me = async (assertion: string) => await ask("/v1/me", { headers: { "x-assertion": assertion } });
  const good = await me(await assertionBy(proxy.privateKey));
  t.match(JSON.parse(good.body), { name: "Grace", may: ["see", "log", "run", "stop", "operate"], hasSession: false });
  t.equal(good.headers["set-cookie"], undefined);
  t.match(await me(await assertionBy(stranger.privateKey)), { status: 401, body: "None of the proxy's keys" });
  t.match(await me(await assertionBy(proxy.privateKey, "1 minute ago")), { status: 401, body: "It has expired" });
  t.match(await me(await assertionBy(proxy.privateKey, "1m", { aud: "other" })), { status: 401, body: "aud" });
  t.match(await ask("/v1/me", { headers: { "x-forwarded-user": "grace@shop.example" } }), { status: 401, body: "Signed out" });
  const foreign = { "x-assertion": await assertionBy(proxy.privateKey), "sec-fetch-site": "cross-site" };
  t.match(await ask("/v1/runs", { body: { run: "x", definition: "greet" }, headers: foreign }), {
    status: 403,
    body: "Not from here",
  });
});

await t.test("plain headers name a person if the proxy's own address sent them", async (t) => {
  const headers = { "x-forwarded-user": "hal", "x-forwarded-groups": "admin, ops" };
  const near = await started({ headers: { peers: ["127.0.0.0/8"] } });
  t.match(JSON.parse((await near.ask("/v1/me", { headers })).body), { name: "hal", may: ["see", "log", "run", "stop", "operate", "administer"] });
  const far = await started({ headers: { peers: ["10.9.9.9"] } }, { proxies: ["127.0.0.1"] });
  t.match(await far.ask("/v1/me", { headers }), { status: 401, body: "The proxy in front of this console did not say" });
  t.match(await far.ask("/v1/me", { headers: { ...headers, "x-forwarded-for": "10.9.9.9" } }), { status: 401 }, "nor if it says it comes from there");
}); // biome-ignore format: as it is read

await t.test(
  "the console answers to its public name and to this machine's, and to none that was made to point here",
  async (t) => {
    t.match(await ask("/", {}), { status: 200 });
    for (const host of ["evil.example", "jobs.example.evil.example", "jobs.example:8443"])
      t.match(await ask("/sign-in", { headers: { host } }), { status: 403, body: "Not this name" }, host);
  },
);

await t.test("whoever asks too much is told when to come again, and others are not held up", async (t) => {
  const { ask: bounded, pages: ledger, health } = await started({ oidc: OIDC }, { requestsPerMinute: 60, proxies: ["127.0.0.1"] });
  const token = newProgramToken();
  await ledger.tokens.add("eager", hashOf(token), 60_000);
  const answers = await Promise.all(Array.from({ length: 61 }, () => bounded("/v1/me", { headers: bearer(token) })));
  const [refused, ...more] = answers.filter(({ status }) => status !== 200);
  t.same(more, []);
  t.match(refused, { status: 429, headers: { "content-type": /^application\/problem\+json/, "retry-after": /^\d+$/ }, body: "Too much at once" });
  const from = (address: string): Asking => ({ body: { token: "guessed" }, headers: { "x-forwarded-for": address } });
  const guesses = await Promise.all(Array.from({ length: 101 }, () => bounded("/v1/enter", from("203.0.113.7"))));
  t.same(guesses.filter(({ status }) => status !== 403).map(({ status }) => status), [429]);
  t.match(await bounded("/v1/enter", from("203.0.113.8")), { status: 403 });
  const metrics = await (await fetch(`${health}/metrics`)).text();
  t.match(metrics, 'longshore_http_requests_total{route="/v1/me",status="200"} 60');
  t.match(metrics, 'longshore_http_requests_total{route="/v1/me",status="429"} 1');
  t.match(metrics, 'longshore_http_refusals_total{reason="link"} 101');
  t.match(metrics, "longshore_http_streams 0");
}); // biome-ignore format: as it is read
