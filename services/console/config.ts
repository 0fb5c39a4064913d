/** The console's settings. config/console.yaml shows every field; with an unknown field the console does not start. */
import { brokerSettings } from "@longshore/broker/settings.ts";
import { AccessRule } from "@longshore/contract/access-rule.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { oneSecret, sealKeys, secretFile, secretSetting } from "@longshore/runtime/config/secret-settings.ts";
import { isNetwork } from "@longshore/runtime/networks.ts";
import { programSettings } from "@longshore/runtime/program.ts";
import { z } from "zod";

const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;

/** What travels there could be read and changed on the way, except on this machine itself. */
const SafeUrl = z.string().refine((text) => {
  if (!URL.canParse(text)) return false;
  const { protocol, host, username, password } = new URL(text);
  return username + password === "" && (protocol === "https:" || (protocol === "http:" && LOOPBACK.test(host)));
}, "is no https address; http is for this machine alone (http://127.0.0.1:7373)");

const Origin = SafeUrl.refine(
  (text) => !URL.canParse(text) || new URL(text).origin === text.replace(/\/$/, ""),
  "has more than a name and a port: the console has all paths of its address",
);

const HeaderName = z.string().regex(/^[a-z0-9!#$%&'*+.^_`|~-]+$/, "is no header's name in small letters");
const Network = z.string().refine(isNetwork, "is no address and no network; write 10.2.0.7 or 10.2.0.0/16");
const Name = z.string().min(1).max(200);

const claims = {
  /** What rules name as `user`. It never changes, unlike an address or a name. */
  idClaim: Name.default("sub"),
  nameClaim: Name.default("name"),
  teamsClaim: Name.default("groups"),
};

const Oidc = z.strictObject({
  issuer: SafeUrl,
  clientId: Name,
  clientSecretFile: secretFile().optional(),
  scopes: z
    .array(Name)
    .refine((all) => all.includes("openid"), 'lacks "openid", without which nobody is named')
    .default(["openid", "profile"]),
  ...claims,
});

const Proxy = z.strictObject({ header: HeaderName, issuer: Name, audience: Name, jwks: SafeUrl, ...claims });

const Headers = z.strictObject({
  peers: z.array(Network).min(1),
  user: HeaderName.default("x-forwarded-user"),
  teams: HeaderName.default("x-forwarded-groups"),
});

const Settings = z.strictObject({
  ...programSettings,
  installation: Installation,
  broker: brokerSettings(),
  ledger: z.strictObject({ ...secretSetting("url") }).check(oneSecret("url")),
  /** The watchers' key of logs. Without it, what a program prints is shown at its end. */
  logKeyFile: sealKeys().optional(),
  /** Without a rule, nobody may do anything. */
  access: z.array(AccessRule).default([]),
  signIn: z.strictObject({ oidc: Oidc.optional(), proxy: Proxy.optional(), headers: Headers.optional() }).prefault({}),
  http: z
    .strictObject({
      listen: z.string().default("127.0.0.1:7373"),
      /** The address in people's browsers, if something in front of the console has another one. */
      publicUrl: Origin.optional(),
      /** Whose X-Forwarded-For is believed: else all people behind a proxy share the bounds of one address. */
      proxies: z.array(Network).default([]),
      /** The number of ports to try, from the port of `listen` on: other programs may listen there. */
      ports: z.int().min(1).max(100).default(1),
      /** What one person may ask. */
      requestsPerMinute: z.int().min(60).max(1_000_000).default(3_000),
      health: z.string().default("127.0.0.1:9093"),
    })
    .prefault({}),
});

/** A console that others reach has a way to sign in that needs nobody on this machine, and TLS in front of it. */
export const ConsoleConfig = Settings.superRefine(({ http: { listen, publicUrl }, signIn }, context) => {
  if (LOOPBACK.test(listen)) return;
  const missing = [
    ...(publicUrl?.startsWith("https:") === true ? [] : ["http.publicUrl, the https address of what has TLS in front of it"]),
    ...(Object.values(signIn).some((it) => it !== undefined)
      ? []
      : ["a way to sign in: signIn.oidc, signIn.proxy or signIn.headers"]),
  ];
  if (missing.length > 0)
    context.addIssue({
      ...{ code: "custom", path: ["http", "listen"] },
      message: `is not on this machine alone, and so needs ${missing.join(", and ")}; else write 127.0.0.1:7373`,
    });
});
export type ConsoleConfig = z.output<typeof ConsoleConfig>;
