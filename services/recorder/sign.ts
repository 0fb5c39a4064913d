/**
 * Signatures by Standard Webhooks (https://www.standardwebhooks.com): whoever receives a request can tell who sent it, and drops
 * one that came before.
 *
 * The bugs this prevents: an id that changes when a request is sent again, so that the receiver acts twice; and a key that
 * cannot be changed, because sender and receiver would have to change at once.
 */
import { createHash } from "node:crypto";
import { Webhook } from "standardwebhooks";

const KEYS_MOST = 2;
const KEY_BYTES_MIN = 24;
const KEY_BYTES_MAX = 64;

const linesOf = (text: string): readonly string[] =>
  text.split("\n").map((it) => it.trim()).filter((it) => it !== ""); // biome-ignore format: one question

/** Returns the problem with a file of keys, as a sentence without the keys. */
export function signingKeysProblem(text: string): string | undefined {
  const lines = linesOf(text);
  if (lines.length > KEYS_MOST) return `holds ${lines.length} lines; it is one key a line, and two while the key is changed`;
  const wrong = lines.findIndex((line) => {
    const bytes = keyBytes(line);
    return bytes < KEY_BYTES_MIN || bytes > KEY_BYTES_MAX;
  });
  if (lines.length > 0 && wrong < 0) return undefined;
  const which = lines.length > 1 ? `its key number ${wrong + 1} is` : "it holds";
  const what = `no key of Standard Webhooks ("whsec_" and ${KEY_BYTES_MIN} to ${KEY_BYTES_MAX} bytes in base64)`;
  return `${which} ${what}; make one with: echo "whsec_$(openssl rand -base64 32)"`;
}

function keyBytes(line: string): number {
  const base64 = line.replace(/^whsec_/, "");
  return /^[A-Za-z0-9+/]+={0,2}$/.test(base64) && base64.length % 4 === 0 ? Buffer.from(base64, "base64").length : 0;
}

/**
 * The same request has the same id however often it is sent. Not the event's own id: that has dots if the run's has, and a
 * signature's parts are divided by dots.
 */
export const webhookId = (sink: string, event: string, rule: number): string =>
  `msg_${createHash("sha256")
    .update(JSON.stringify([sink, event, rule]))
    .digest("hex")
    .slice(0, 32)}`;

/** Returns the headers of one request. Each key makes a signature, so that a receiver with either key is content. */
export function signed(
  { id, body, nowMs }: { readonly id: string; readonly body: string; readonly nowMs: number },
  keys: string | undefined,
): Readonly<Record<string, string>> {
  const at = new Date(nowMs);
  const signatures = linesOf(keys ?? "").map((key) => new Webhook(key).sign(id, at, body));
  return {
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(nowMs / 1000)),
    ...(signatures.length > 0 && { "webhook-signature": signatures.join(" ") }),
  };
}
