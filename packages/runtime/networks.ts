/** Networks as settings write them: "10.2.0.0/16", or one address. */
import { BlockList, isIP, isIPv6 } from "node:net";

export type Range = readonly [address: string, bits: number];

export function isNetwork(text: string): boolean {
  const [, address = "", bits] = /^([0-9a-fA-F.:]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  return isIP(address) !== 0 && (bits === undefined || Number(bits) <= (isIPv6(address) ? 128 : 32));
}

export function rangeOf(text: string): Range {
  const [address = "", bits] = text.split("/");
  return [address, bits === undefined ? (isIPv6(address) ? 128 : 32) : Number(bits)];
}

export function listOf(ranges: readonly Range[]): BlockList {
  const list = new BlockList();
  for (const [address, bits] of ranges) list.addSubnet(address, bits, isIPv6(address) ? "ipv6" : "ipv4");
  return list;
}
