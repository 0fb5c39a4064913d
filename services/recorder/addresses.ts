/**
 * Which addresses may be connected to. A name is judged by the addresses that DNS gives for it as the connection is made.
 *
 * The bugs this prevents: a sink whose name is pointed at the cloud's metadata server, or at a service of the inner network,
 * after its settings were read; and the same address in another spelling (::ffff:169.254.169.254).
 */
import { lookup as ask, type LookupAddress } from "node:dns";
import { isIP, isIPv6, type LookupFunction } from "node:net";
import { listOf, type Range, rangeOf } from "@longshore/runtime/networks.ts";

/** No setting allows these: this host's own network, link-local with the clouds' metadata servers, and many receivers at once. */
const NEVER: readonly Range[] = [
  ["0.0.0.0", 8], ["169.254.0.0", 16], ["224.0.0.0", 4], ["240.0.0.0", 4],
  ["::", 128], ["fe80::", 10], ["fec0::", 10], ["ff00::", 8], ["fd00:ec2::254", 128],
]; // biome-ignore format: a table

/** Loopback and private networks, which a setting has to allow. */
const INNER: readonly Range[] = [
  ["10.0.0.0", 8], ["100.64.0.0", 10], ["127.0.0.0", 8], ["172.16.0.0", 12], ["192.0.0.0", 24], ["192.168.0.0", 16], ["198.18.0.0", 15],
  ["::1", 128], ["fc00::", 7],
]; // biome-ignore format: a table

/** In these, an IPv4 address stands in the bytes from `at` on. */
const EMBEDDING: readonly { readonly range: Range; readonly at: number }[] = [
  { range: ["::ffff:0:0", 96], at: 12 },
  { range: ["::", 96], at: 12 },
  { range: ["64:ff9b::", 96], at: 12 },
  { range: ["2002::", 16], at: 2 },
];

export type Judge = (address: string) => "allowed" | "inner" | "never";

/** `allowed`: networks such as "10.2.0.0/16". */
export function openJudge(allowed: readonly string[]): Judge {
  const never = listOf(NEVER);
  const inner = listOf(INNER);
  const opened = listOf(allowed.map(rangeOf));
  return (address) => {
    const plain = withoutEmbedding(address.replace(/%.*$/, ""));
    const family = isIPv6(plain) ? "ipv6" : "ipv4";
    if (isIP(plain) === 0 || never.check(plain, family)) return "never";
    return inner.check(plain, family) && !opened.check(plain, family) ? "inner" : "allowed";
  };
}

function withoutEmbedding(address: string): string {
  if (!isIPv6(address)) return address;
  const found = EMBEDDING.find(({ range }) => listOf([range]).check(address, "ipv6"));
  if (found === undefined || address === "::1" || address === "::") return address;
  return [...bytesOf(address).slice(found.at, found.at + 4)].join(".");
}

/** The 16 bytes of an IPv6 address. The URL parser writes an address in one way, without dots. */
function bytesOf(address: string): Uint8Array {
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const words = (text: string | undefined): string[] => (text === undefined || text === "" ? [] : text.split(":"));
  const [before, after] = [words(head), words(tail)];
  const all = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => "0"), ...after];
  return Uint8Array.from(all.flatMap((word) => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 255]));
}

export class Refused extends Error {
  override readonly name = "Refused";
  readonly code = "AddressRefused";
}

export function refusalOf(host: string, address: string, verdict: "inner" | "never"): Refused {
  const where = host === address ? `${address} is` : `${host} is ${address}, which is`;
  return new Refused(
    verdict === "never"
      ? `${where} an address that no sink may have.`
      : `${where} an address of this machine or an inner network: name it, or its network, in addresses.allow if this is meant.`,
  );
}

/** A lookup for connections, which gives only addresses that may be connected to. */
export function judgedNames(judge: Judge, asking: typeof ask = ask): LookupFunction {
  return (name, options, answer) => {
    const { family, hints } = options;
    asking(name, { all: true, family: family === "IPv4" ? 4 : family === "IPv6" ? 6 : (family ?? 0), hints }, (error, found) => {
      if (error !== null) return answer(error, []);
      const refused = found.flatMap(({ address }) => {
        const verdict = judge(address);
        return verdict === "allowed" ? [] : [refusalOf(name, address, verdict)];
      })[0];
      const allowed: LookupAddress[] = found.filter(({ address }) => judge(address) === "allowed");
      const [first] = allowed;
      if (first === undefined) return answer(refused ?? notFound(name), []);
      if (options.all === true) answer(null, allowed);
      else answer(null, first.address, first.family);
    });
  };
}

const notFound = (name: string): NodeJS.ErrnoException =>
  Object.assign(new Error(`DNS knows no address of ${name}.`), { code: "ENOTFOUND", hostname: name });
