/**
 * Seals texts that travel over a broker, so that nobody on the way can read or change them: AES-256-GCM under keys from a file
 * that both ends have.
 *
 * The bugs this prevents: a credential that can be read in a queue; a credential that is moved beside another address
 * (everything around the sealed text is bound to it); and a key that cannot be changed because both ends would have to change
 * at once. The file is a ring of keys, one a line: the first seals, any of them opens.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject, randomBytes } from "node:crypto";

export interface Sealed {
  /** The id of the ring's key that sealed the text. The id reveals nothing of the key. */
  readonly key: string;
  readonly nonce: string;
  readonly box: string;
}

export type Opened =
  | { readonly kind: "opened"; readonly text: string }
  | { readonly kind: "refused"; readonly why: "unknownKey" | "tampered"; readonly message: string };

export interface Seal {
  /** The id of the key that seals, for logs and health. */
  readonly key: string;
  readonly keys: readonly string[];
  /** `bound` is not encrypted, but the text opens only with the same `bound`. */
  seal(text: string, bound: string): Sealed;
  /** Never throws: a text from a broker may be anything. */
  open(sealed: Sealed, bound: string): Opened;
}

const SEAL_KEY_BYTES_MIN = 32;
const SEAL_KEYS_MOST = 10;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

interface RingKey {
  readonly id: string;
  readonly key: KeyObject;
}

const linesOf = (ring: string): readonly string[] => ring.split("\n").map((it) => it.trim()).filter((it) => it !== ""); // biome-ignore format: one question

/** Returns the problem with a key file's text, as a sentence without the keys. */
export function sealProblem(ring: string): string | undefined {
  const lines = linesOf(ring);
  if (lines.length > SEAL_KEYS_MOST)
    return `holds ${lines.length} lines; it is one key a line, the first seals and any opens, and ${SEAL_KEYS_MOST} at most`;
  const short = lines.findIndex((it) => Buffer.byteLength(it) < SEAL_KEY_BYTES_MIN);
  if (lines.length > 0 && short < 0) return undefined;
  const which = lines.length > 1 ? `its key number ${short + 1} has` : "holds";
  return `${which} fewer than ${SEAL_KEY_BYTES_MIN} bytes, which could be guessed; make one with: openssl rand -base64 48`;
}

/** `scope` separates the sealed texts of installations that share a key file. */
export function openSeal(ring: string, scope: string): Seal {
  const problem = sealProblem(ring);
  if (problem !== undefined) throw new RangeError(`the seal key file ${problem}`);
  const keys = linesOf(ring).map((line) => ringKey(line, scope));
  const [first] = keys;
  if (first === undefined) throw new RangeError("the seal key file holds no key");
  return {
    key: first.id,
    keys: keys.map(({ id }) => id),
    seal: (text, bound) => sealWith(first, text, bound),
    open: (sealed, bound) => openWith(keys, sealed, bound),
  };
}

function ringKey(line: string, scope: string): RingKey {
  const derive = (purpose: string, bytes: number) => Buffer.from(hkdfSync("sha256", line, scope, `longshore ${purpose}`, bytes));
  return { id: derive("seal id", 4).toString("hex"), key: createSecretKey(derive("seal", 32)) };
}

function sealWith({ id, key }: RingKey, text: string, bound: string): Sealed {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(bound));
  const box = Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return { key: id, nonce: nonce.toString("base64url"), box: box.toString("base64url") };
}

function openWith(keys: readonly RingKey[], { key: id, nonce, box }: Sealed, bound: string): Opened {
  const known = keys.find((it) => it.id === id);
  if (known === undefined) {
    const ours = keys.map((it) => it.id).join(", ");
    const message = `It is sealed with the key ${shown(id)}, and this program's sealKeyFile has ${ours}. Give both programs the same file.`;
    return { kind: "refused", why: "unknownKey", message };
  }
  try {
    const bytes = Buffer.from(box, "base64url");
    const decipher = createDecipheriv("aes-256-gcm", known.key, Buffer.from(nonce, "base64url"), { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(bound)).setAuthTag(bytes.subarray(-TAG_BYTES));
    const text = Buffer.concat([decipher.update(bytes.subarray(0, -TAG_BYTES)), decipher.final()]).toString("utf8");
    return { kind: "opened", text };
  } catch {
    const message = `It names the key ${id} but was not sealed with it in this form: it was changed on its way, or put together from other messages. See who else may publish at the broker.`;
    return { kind: "refused", why: "tampered", message };
  }
}

/** Returns an id from outside only if it looks like one of ours, since it may be any text. */
const shown = (id: string): string => (/^[0-9a-f]{8}$/.test(id) ? id : "of another kind");
