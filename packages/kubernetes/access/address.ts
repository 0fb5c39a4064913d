/**
 * Judges whether an address may be a cluster's API server.
 *
 * The bugs this prevents: a token sent in clear, and a group whose "cluster" is the cloud's metadata service, which gives this
 * machine's own credentials to any program that asks from here.
 */
import { BlockList, isIP } from "node:net";
import { withoutCredentials } from "@longshore/runtime/config/secret.ts";

const NEVER = listOf([
  ["169.254.0.0", 16], // link-local, and with it the metadata services
  ["fe80::", 10],
  ["100.100.100.200", 32],
  ["fd00:ec2::254", 128],
  ["0.0.0.0", 8],
]);
const LOOPBACK = listOf([
  ["127.0.0.0", 8],
  ["::1", 128],
]);

/**
 * Returns a sentence, or undefined if nothing is wrong. `URL` spells every form of an IP address (0x7f.1, 2130706433) in one
 * way.
 */
export function addressProblem(server: string): string | undefined {
  if (!URL.canParse(server)) return `"${withoutCredentials(server)}" is not an address; write it as https://host:6443.`;
  const url = new URL(server);
  if (url.username !== "" || url.password !== "")
    return "An address must not hold a user or password; give the group a token or a client certificate.";
  if (url.search !== "" || url.hash !== "") return "An address must not hold a query or a fragment.";
  const host = hostOf(url);
  if (is(NEVER, host)) return `${host} is link-local or a metadata service, never a cluster's API server.`;
  if (url.protocol === "https:") return undefined;
  if (url.protocol !== "http:") return `The scheme must be https, not ${url.protocol.replace(":", "")}.`;
  if (is(LOOPBACK, host) || host === "localhost") return undefined;
  return "http would send the token in clear; use https. (Only an API server on this machine's loopback may be http.)";
}

export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

function is(list: BlockList, host: string): boolean {
  const version = isIP(host);
  return version !== 0 && list.check(host, version === 4 ? "ipv4" : "ipv6");
}

function listOf(subnets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [net, prefix] of subnets) list.addSubnet(net, prefix, isIP(net) === 4 ? "ipv4" : "ipv6");
  return list;
}
