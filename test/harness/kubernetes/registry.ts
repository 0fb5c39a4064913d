/**
 * A registry of images on a loopback port, with a repository for each way in which a pull can fail.
 *
 * The failure this prevents: a diagnosis written against remembered error messages. Here the messages are containerd's own, as
 * in real clusters' pods. A node accepts 127.0.0.1 as a registry without TLS.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { freePort } from "@longshore/ledger/embedded-postgres.ts";
import { type Blob, BUSYBOX, busyboxImage, elsewhere, type Image } from "./images.ts";
import { nodePrograms } from "./node-programs.ts";

export interface Registry extends AsyncDisposable {
  /** "127.0.0.1:41234" */
  readonly host: string;
  /** Anybody may pull this image. The names below are images like it. */
  readonly open: string;
  /** Answers 401 until a pull has the credentials below. */
  readonly locked: string;
  /** Answers 403 to everyone. */
  readonly forbidden: string;
  /** Answers 404: the repository exists, and has no such tag. */
  readonly missing: string;
  /** Answers 500 to everything. */
  readonly broken: string;
  /** An image for a processor that no node has. */
  readonly elsewhere: string;
  /** An image whose user is the name "nobody" instead of a number. */
  readonly named: string;
  /** Answers 429, as registries do if one pulls too much. */
  readonly limited: string;
  readonly user: string;
  readonly password: string;
  /** The content of ".dockerconfigjson" in a Secret of type kubernetes.io/dockerconfigjson, to pull `locked`. */
  readonly dockerConfig: string;
}

export async function registry(): Promise<Registry> {
  const { busybox } = await nodePrograms();
  const images: Images = { plain: await busyboxImage(busybox), named: await busyboxImage(busybox, BUSYBOX, "nobody") };
  const user = "puller";
  const password = randomBytes(12).toString("hex");
  const basic = Buffer.from(`${user}:${password}`).toString("base64");
  const server = createServer((asked, answer) => respond(images, basic, asked, answer));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = hostOf(server.address() as AddressInfo);
  const named = (repository: string, tag = "1"): string => `${host}/${repository}/busybox:${tag}`;
  return {
    host,
    open: named("open"),
    locked: named("locked"),
    forbidden: named("forbidden"),
    missing: named("open", "no-such-tag"),
    broken: named("broken"),
    elsewhere: named("elsewhere"),
    named: named("named"),
    limited: named("limited"),
    user,
    password,
    dockerConfig: JSON.stringify({ auths: { [host]: { username: user, password, auth: basic } } }),
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** A port of this computer on which nothing listens: a connection is refused at once. */
export const refusingRegistry = async (): Promise<string> => hostOf({ port: await freePort() });

export interface HangingRegistry extends AsyncDisposable {
  readonly host: string;
  /** Resolves when a client has connected. */
  readonly asked: Promise<void>;
}

/** Takes connections and never answers, like a firewall that drops or a registry that hangs. */
export async function hangingRegistry(): Promise<HangingRegistry> {
  const open = new Set<Socket>();
  const asked = Promise.withResolvers<void>();
  const server = createTcpServer((socket) => {
    open.add(socket);
    asked.resolve();
    socket.on("error", () => socket.destroy()).once("close", () => open.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    host: hostOf(server.address() as AddressInfo),
    asked: asked.promise,
    [Symbol.asyncDispose]: async () => {
      for (const it of open) it.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

const hostOf = ({ port }: { readonly port: number }): string => `127.0.0.1:${port}`;

interface Images {
  readonly plain: Image;
  readonly named: Image;
}

function respond({ plain, named }: Images, basic: string, asked: IncomingMessage, answer: ServerResponse): void {
  const send = (status: number, code: string, headers: Record<string, string> = {}): void => {
    answer.writeHead(status, { "content-type": "application/json", ...headers });
    answer.end(JSON.stringify({ errors: [{ code, message: code.toLowerCase().replaceAll("_", " ") }] }));
  };
  const [, repository, kind, reference = ""] = /^\/v2\/(\w+)\/busybox\/(manifests|blobs)\/(.+)$/.exec(asked.url ?? "") ?? [];
  if (asked.url === "/v2/") return void answer.writeHead(200).end();
  if (repository === "forbidden") return send(403, "DENIED");
  if (repository === "broken") return send(500, "UNKNOWN");
  if (repository === "limited") return send(429, "TOOMANYREQUESTS");
  if (repository === "locked" && asked.headers.authorization !== `Basic ${basic}`)
    return send(401, "UNAUTHORIZED", { "www-authenticate": 'Basic realm="locked"' });
  if (repository === undefined || !["open", "locked", "elsewhere", "named"].includes(repository))
    return send(404, "NAME_UNKNOWN");
  const image = repository === "named" ? named : plain;
  const list = repository === "elsewhere" ? elsewhere(plain) : undefined;
  const found = kind === "manifests" ? manifest(image, reference, list) : blob(image, reference);
  if (found === undefined) return send(404, kind === "manifests" ? "MANIFEST_UNKNOWN" : "BLOB_UNKNOWN");
  const { mediaType, digest, bytes } = found;
  answer.writeHead(200, { "content-type": mediaType, "content-length": bytes.length, "docker-content-digest": digest });
  answer.end(asked.method === "HEAD" ? undefined : bytes);
}

const manifest = (image: Image, reference: string, list: Blob = image.manifest): Blob | undefined =>
  reference === "1" ? list : [list, image.manifest].find(({ digest }) => digest === reference);

const blob = (image: Image, digest: string): Blob | undefined => [image.config, image.layer].find((it) => it.digest === digest);
