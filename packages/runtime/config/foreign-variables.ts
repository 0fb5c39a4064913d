/**
 * Variables that begin as ours do and are no settings.
 *
 * The bug this prevents: a program that refuses to start since Kubernetes gave its pod the address of a Service whose name begins
 * with "longshore", or since it was started from a pod of ours.
 */
export const PREFIX = "LONGSHORE_";

/** The settings file; what a run's pod is given; and, in the pocket cluster, its file for outputs. */
const OWN: ReadonlySet<string> = new Set(
  ["CONFIG", "RUN", "STEP", "ATTEMPT", "TERMINATION_LOG"].map((name) => `${PREFIX}${name}`),
);
/** Only the tests read these. */
const TESTS = `${PREFIX}TEST_`;

/** LONGSHORE_LAUNCHER_SERVICE_HOST, LONGSHORE_LAUNCHER_SERVICE_PORT_HTTP, LONGSHORE_LAUNCHER_PORT_9090_TCP_ADDR */
const LINK = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;
/** LONGSHORE_LAUNCHER_PORT is an address there; somebody's LONGSHORE_BROKER_PORT=5672 is none. */
const LINK_PORT = /_PORT$/;
const LINK_ADDRESS = /^(tcp|udp|sctp):\/\//;

export const isForeign = (name: string, value = ""): boolean =>
  OWN.has(name) || name.startsWith(TESTS) || LINK.test(name) || (LINK_PORT.test(name) && LINK_ADDRESS.test(value));

/** For programs whose settings must be those of their file alone. */
export const withoutSettings = (env: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> =>
  Object.fromEntries(Object.entries(env).filter(([name, value]) => !name.startsWith(PREFIX) || isForeign(name, value)));
