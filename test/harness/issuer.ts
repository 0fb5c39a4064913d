/**
 * A real issuer of OpenID Connect on loopback, with people who agree at once or refuse, and a browser that goes there and back.
 *
 * The failure this prevents: a sign-in that is tried against our own idea of an issuer.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair } from "jose";
import Provider, { type AccountClaims, type Adapter, type AdapterPayload, type Configuration } from "oidc-provider";

export const CLIENT = { id: "longshore", secret: "a secret of the issuer and the console" };

export interface TestIssuer extends AsyncDisposable {
  readonly url: string;
  /** Goes where the console sends a browser, as this person, and returns the address of the console that it comes back to. */
  visit(to: string, how: { readonly as: string } | "refused"): Promise<string>;
}

const MINUTE_SECONDS = 60;

/** The library's own memory warns on each start that it is for tests. */
function memory(): (model: string) => Adapter {
  const rows = new Map<string, AdapterPayload>();
  return (model) => ({
    upsert: async (id, row) => void rows.set(`${model} ${id}`, row),
    find: async (id) => rows.get(`${model} ${id}`),
    findByUid: async (uid) => [...rows].find(([key, row]) => key.startsWith(`${model} `) && row.uid === uid)?.[1],
    findByUserCode: async () => undefined,
    async consume(id) {
      Object.assign(rows.get(`${model} ${id}`) ?? {}, { consumed: true });
    },
    destroy: async (id) => void rows.delete(`${model} ${id}`),
    async revokeByGrantId(grant) {
      for (const [key, row] of rows) if (row.grantId === grant) rows.delete(key);
    },
  });
}

/** `back`: where the issuer sends browsers back to. */
export async function testIssuer(back: string, people: Readonly<Record<string, AccountClaims>>): Promise<TestIssuer> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  const settings: Configuration = {
    clients: [{ client_id: CLIENT.id, client_secret: CLIENT.secret, redirect_uris: [back], token_endpoint_auth_method: "client_secret_post" }],
    jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: "RS256", use: "sig" }] },
    cookies: { keys: ["only in tests"] },
    adapter: memory(),
    ttl: Object.fromEntries(
      ["Interaction", "Grant", "Session", "AccessToken", "IdToken", "AuthorizationCode"].map((it) => [it, MINUTE_SECONDS]),
    ),
    features: { devInteractions: { enabled: false } },
    scopes: ["openid", "profile", "groups"],
    claims: { openid: ["sub"], profile: ["name"], groups: ["groups"] },
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    findAccount: (_, sub) => ({ accountId: sub, claims: async () => people[sub] ?? { sub } }),
    async loadExistingGrant({ oidc: { client, session, provider } }) {
      const grant = new provider.Grant({ clientId: client?.clientId, accountId: session?.accountId });
      grant.addOIDCScope("openid profile groups");
      await grant.save();
      return grant;
    },
  }; // biome-ignore format: settings
  const provider = new Provider(url, settings);
  const answer = provider.callback();
  server.on("request", (request, response) => {
    if (request.url?.startsWith("/interaction/") !== true) return void answer(request, response);
    const as = String(request.headers["x-as"] ?? "");
    const result = as === "" ? { error: "access_denied", error_description: "not today" } : { login: { accountId: as } };
    provider.interactionFinished(request, response, result).catch((error: unknown) => response.destroy(error as Error));
  });
  return {
    url,
    async visit(to, how) {
      const cookies = new Map<string, string>();
      for (let at = new URL(to); ; ) {
        const cookie = [...cookies].map((it) => it.join("=")).join("; ");
        const headers = { cookie, ...(how !== "refused" && { "x-as": how.as }) };
        const { headers: got, status } = await fetch(at, { redirect: "manual", headers });
        for (const [, name = "", value = ""] of got.getSetCookie().map((it) => /^([^=]+)=([^;]*)/.exec(it) ?? []))
          cookies.set(name, value);
        const next = got.get("location");
        if (next === null) throw new Error(`the issuer answered ${status} at ${at.href} and sent the browser nowhere`);
        at = new URL(next, at);
        if (at.origin !== url) return at.href;
      }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      if (server.listening) await once(server, "close");
    },
  };
}
