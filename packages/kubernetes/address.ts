/**
 * Whether an address may be a cluster's API server.
 *
 * The bugs this prevents: a token sent in clear, and a group whose "cluster" is the cloud's metadata service, which gives
 * this machine's own credentials to whoever asks from here.
 */
import { BlockList, isIP } from "node:net";

const never = new BlockList();
never.addSubnet("169.254.0.0", 16, "ipv4"); // link-local, and with it the metadata services
never.addSubnet("fe80::", 10, "ipv6");
never.addAddress("100.100.100.200", "ipv4");
never.addAddress("fd00:ec2::254", "ipv6");
never.addSubnet("0.0.0.0", 8, "ipv4");

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** A sentence, or undefined if nothing is wrong. URL spells every form of an IP address (0x7f.1, 2130706433) in one way. */
export function addressProblem(server: string): string | undefined {
  if (!URL.canParse(server)) return `"${server}" is not an address; write it as https://host:6443.`;
  const url = new URL(server);
  if (url.username !== "" || url.password !== "")
    return "An address must not hold a user or password; give the group a token or a client certificate.";
  if (url.search !== "" || url.hash !== "") return "An address must not hold a query or a fragment.";
  const host = hostOf(url);
  if (is(never, host)) return `${host} is link-local or a metadata service, never a cluster's API server.`;
  if (url.protocol === "https:") return undefined;
  if (url.protocol !== "http:") return `The scheme must be https, not ${url.protocol.replace(":", "")}.`;
  if (is(loopback, host) || host === "localhost") return undefined;
  return "http would send the token in clear; use https. (Only an API server on this machine's loopback may be http.)";
}

export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

function is(list: BlockList, host: string): boolean {
  const version = isIP(host);
  return version !== 0 && list.check(host, version === 4 ? "ipv4" : "ipv6");
}
