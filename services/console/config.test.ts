import t from "tap";
import { ConsoleConfig } from "./config.ts";

const LEAST = { installation: "local", broker: { url: "amqp://localhost" }, ledger: { url: "postgres://localhost" } };
const OIDC = { oidc: { issuer: "https://login.example", clientId: "longshore" } };
const PUBLIC = { listen: "0.0.0.0:7373", publicUrl: "https://jobs.example" };
const problems = (it: object): readonly string[] =>
  ConsoleConfig.safeParse({ ...LEAST, ...it }).error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`) ?? [];

for (const [name, given, says] of [
  ["on this machine alone, with links", {}, undefined],
  ["on this machine alone, by IPv6", { http: { listen: "[::1]:7373" } }, undefined],
  ["for others, with TLS and an issuer", { http: PUBLIC, signIn: OIDC }, undefined],
  ["for others, with TLS and links alone", { http: PUBLIC }, /^http\.listen: .* needs a way to sign in/],
  ["for others, without TLS", { http: { ...PUBLIC, publicUrl: undefined }, signIn: OIDC }, /^http\.listen: .* needs http\.publicUrl/],
  ["for others, with nothing of it", { http: { listen: ":7373" } }, /^http\.listen: .* needs http\.publicUrl.*, and a way to sign in/],
  ["at a public address without TLS", { http: { publicUrl: "http://jobs.example" } }, /^http\.publicUrl: is no https address/],
  ["at a loopback name that is a part of another", { http: { publicUrl: "http://localhost.evil.example" } }, /^http\.publicUrl: is no https/],
  ["below a path", { http: { publicUrl: "https://example.com/jobs" } }, /^http\.publicUrl: has more than a name/],
  ["with an issuer that has no TLS", { signIn: { oidc: { ...OIDC.oidc, issuer: "http://login.example" } } }, /^signIn\.oidc\.issuer: is no https/],
  ["with scopes that name nobody", { signIn: { oidc: { ...OIDC.oidc, scopes: ["profile"] } } }, /^signIn\.oidc\.scopes: lacks "openid"/],
  ["with headers of everybody", { signIn: { headers: { peers: [] } } }, /^signIn\.headers\.peers: /],
  ["with a header that Node never has", { signIn: { headers: { peers: ["10.2.0.7"], user: "X-User" } } }, /^signIn\.headers\.user: .*small letters/],
  ["with a peer that is a name", { signIn: { headers: { peers: ["proxy"] } } }, /^signIn\.headers\.peers\.0: .*write 10\.2\.0\.7/],
] as const) // biome-ignore format: a table
  t.test(`a console ${name} ${says === undefined ? "starts" : "does not start, and says why"}`, async (t) =>
    says === undefined ? t.same(problems(given), []) : t.match(problems(given), [says]),
  );
