/**
 * The certificate by which a kubelet knows its API server, made anew for each cluster.
 *
 * The failure this prevents: a kubelet that obeys anyone who finds its port. The kubelet runs containers as root, so on a
 * machine with several users each of them could become root while a test runs. Node can read certificates but not make them;
 * this file makes the one kind that is needed, self-signed.
 */
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

export interface Certified {
  /** PEM. */
  readonly certificate: string;
  readonly key: string;
}

const DAY_MS = 86_400_000;
const ECDSA_SHA256 = "1.2.840.10045.4.3.2";
const COMMON_NAME = "2.5.4.3";
const EXTENDED_KEY_USAGE = "2.5.29.37";
const CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2";

/** Makes a certificate that is valid from an hour ago, for thirty days. */
export function clientCertificate(commonName: string, now: Date): Certified {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = sequence(identifier(ECDSA_SHA256));
  const name = sequence(set(sequence(identifier(COMMON_NAME), field(0x0c, Buffer.from(commonName)))));
  const usage = field(0x04, sequence(identifier(CLIENT_AUTHENTICATION)));
  const content = sequence(
    field(0xa0, integer(Buffer.from([2]))), // version 3
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    name,
    sequence(time(new Date(now.getTime() - DAY_MS / 24)), time(new Date(now.getTime() + 30 * DAY_MS))),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    field(0xa3, sequence(sequence(identifier(EXTENDED_KEY_USAGE), usage))),
  );
  const signature = field(0x03, Buffer.concat([Buffer.from([0]), sign("sha256", content, privateKey)]));
  return {
    certificate: pem(sequence(content, algorithm, signature)),
    key: privateKey.export({ type: "sec1", format: "pem" }).toString(),
  };
}

function field(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const prefix = length < 0x80 ? [] : length < 0x100 ? [0x81] : [0x82, length >> 8]; // the shortest form; Go refuses any other
  return Buffer.concat([Buffer.from([tag, ...prefix, length & 0xff]), content]);
}

const sequence = (...contents: readonly Buffer[]): Buffer => field(0x30, ...contents);
const set = (...contents: readonly Buffer[]): Buffer => field(0x31, ...contents);
const integer = (bytes: Buffer): Buffer => field(0x02, bytes);
/** The form "261121120000Z" has no century, and ends in 2049. */
const time = (at: Date): Buffer => field(0x17, Buffer.from(`${at.toISOString().replace(/^20|[-:T]|\..*/g, "")}Z`));

function identifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = rest.flatMap((part) => {
    const digits = [part & 0x7f];
    for (let left = part >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
    return digits;
  });
  return field(0x06, Buffer.from([first * 40 + second, ...bytes]));
}

function pem(der: Buffer): string {
  const lines = der.toString("base64").replace(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}
