/**
 * Turns the words of kubelets, container runtimes and registries into words that their reader can act on.
 *
 * The failure this prevents: "failed to create containerd task: failed to create shim task: OCI runtime create failed: …", cut
 * off before the program's name, which was the one word that the reader needed.
 */
import { firstLineOf } from "./foreign-words.ts";

export interface Why {
  /** The reason, worded to follow a colon. */
  readonly why: string;
  /** Set if the code's own hint would mislead the reader. */
  readonly hint?: string;
  /** Trying again cannot help: the image or the machine has no such program. */
  readonly isLasting?: boolean;
}

type Words = readonly [about: RegExp, why: string, hint?: string, isLasting?: boolean];

const AGAIN = "It is tried again by itself";
const UP = `Ask the registry's people whether it works. ${AGAIN}.`;
const ADDRESS = "Check the host in the image's name; then whether the cluster's nodes may connect to it.";

/** `$1` is replaced by the text that the pattern caught. */
// biome-ignore format: a table is read down its columns
const PULLING: readonly Words[] = [
  [/\b429 |too ?many ?requests|rate limit/i,                "its registry allows no more pulls for now (429)", `Wait: it is tried again by itself. Many registries count the pulls of each account or address; for later runs, add a pull secret to the namespace's default service account.`],
  [/\b(5\d\d [A-Z][a-z]+(?: [A-Z][a-z]+)*)/,                "its registry is out of order ($1)", UP],
  [/connection refused/,                                    "its registry refuses connections, or nothing listens there", ADDRESS],
  [/no such host/,                                          "the nodes find no address for its registry's name (no such host)", ADDRESS],
  [/no route to host|network is unreachable/,               "no way leads from the nodes to its registry", ADDRESS],
  [/x509|certificate/i,                                     "the nodes do not trust its registry's certificate", "Ask the cluster's people to give the nodes the CA that signed the registry's certificate."],
  [/HTTP response to HTTPS client/,                         "its registry speaks HTTP, and the nodes speak only HTTPS with it", "Give the registry a certificate, or let the cluster's people allow the nodes to use it without one."],
  [/no space left/,                                         "the node's disk is full", "Ask the cluster's people to make room on the node. It is tried again by itself."],
  [/i\/o timeout|timed? ?out|Timeout|deadline exceeded|context canceled|request canceled/i, "its registry does not answer in time", UP],
  [/\bEOF\b|connection reset|broken pipe/,                  "its registry breaks connections off before it has answered", UP],
];

/** Programs that pass an error on put these prefixes before it. */
const PASSED_ON = [
  /^Back-off pulling image "[^"]*": /,
  /^ErrImagePull: /,
  /^Failed to pull image "[^"]*": /,
  /^Failed to create pod sandbox: /,
  /^rpc error: code = \w+ desc = /,
  /^failed to pull and unpack image "[^"]*": /,
  /^failed to resolve reference "[^"]*": /,
  /^failed to do request: \w+ "[^"]*": /,
  /^failed to (?:create containerd|create shim|start containerd) task: /,
  /^(?:create|start) failed: /,
  /^OCI runtime (?:create|start) failed: /,
  /^runc (?:create|start) failed: /,
  /^unable to start container process: /,
  /^error during container init: /,
  /^failed to generate container "[^"]*" spec: /,
];

/** Returns the words of the innermost program, which knows the reason. */
export function bare(message: string): string {
  const before = PASSED_ON.find((it) => it.test(message));
  return before === undefined ? message.replace(/: unknown$/, "") : bare(message.replace(before, ""));
}

/** The reason why an image is not pulled. */
export function pullWhy(message: string): Why {
  const why = /^back-off pulling image "[^"]*"\.?$/i.test(message) ? "" : message;
  return worded(PULLING, why) ?? { why: firstLineOf(bare(why)) };
}

const PROGRAM = "Check the container's `command`, and that its image is the one that has the program.";

// biome-ignore format: a table is read down its columns
const STARTING: readonly Words[] = [
  [/exec: "([^"]+)": executable file not found/,            'no folder of the image\'s PATH has the program "$1"', PROGRAM, true],
  [/exec: "([^"]+)": stat .*no such file or directory/,     'the image has no program "$1"', PROGRAM, true],
  [/exec: "([^"]+)": .*no such file or directory/,          'the image has no program "$1", or lacks a file that the program needs', PROGRAM, true],
  [/exec: "([^"]+)": permission denied/,                    '"$1" may not be executed', "Make the file executable in the image (chmod +x), or correct the container's `command`.", true],
  [/exec: "([^"]+)": is a directory/,                       '"$1" is a folder, and no program', PROGRAM, true],
  [/^(the pocket runs programs of this machine, and .+)/,   "$1", "Check the command's name.", true],
  [/^("[^"]+" is no file)$/,                                "$1", "Check the command's name.", true],
  [/^("[^"]+" may not be executed)$/,                       "$1", "Make the file executable (chmod +x), or check the command's name.", true],
  [/exec format error/,                                     "the program is not one for the node's processor", "Build the image for the processor of the cluster's nodes."],
  [/memory limit too low|OOM-killed/,                       "its limit of memory is too little to start anything", "Raise resources.limits.memory; a few MiB are needed before the program begins."],
  [/no command specified/,                                  "neither the request nor the image says which program to run (no command specified)", "State `command` in the request."],
  [/unable to find user (\S+):/,                            'the image has no user "$1"', "Correct the image's user (USER): write it as a number, or as a name that its /etc/passwd has."],
  [/chdir to cwd \("([^"]+)"\)|mkdir (\S+): not a directory/, 'its working directory "$1$2" cannot be used', "Correct `workingDir`, or the folder in the image."],
];

/** The reason why a container's program is not started. */
export const startWhy = (message: string): Why => worded(STARTING, message) ?? { why: firstLineOf(bare(message)) };

/** The kubelet is busy and has not read an existing Secret or ConfigMap yet. If a pod keeps waiting, there is another reason. */
export const isOnlyLate = (message: string): boolean => /failed to sync (?:secret|configmap) cache/.test(message);

/** True if the least memory that a container needs to begin is more than its limit. */
export const isStarved = (message: string): boolean => /memory limit too low|OOM-killed/.test(message);

/** The reason why a volume is not mounted, without the names of the node's folders. */
export function mountWhy(message: string): string {
  const output = /^Output: (.*)$/m.exec(message)?.[1];
  const said = (output ?? message).replace(/^(?:MountVolume|AttachVolume|MapVolume)[.\w]* failed for volume "[^"]*" ?: /, "");
  return firstLineOf(said.replace(/^mount(?:\.\w+)?: /, "").replace(/^\/\S+: /, ""));
}

/** `volume "data"`, if the message names it. */
export const volumeOf = (message: string): string => {
  const [, name] = /for volume "([^"]+)"/.exec(message) ?? [];
  return name === undefined ? "A volume of the pod" : `The pod's volume "${name}"`;
};

const KEY = "Add the key to the Secret or ConfigMap in the group's namespace, or correct its name.";

/** The missing Secret or ConfigMap, or the missing key in one; `undefined`: the message is about something else. */
export function missingOf(message: string): Why | undefined {
  const [, kind, name] = /\b(secret|configmap)s? "([^"]+)" not found/i.exec(message) ?? [];
  if (kind !== undefined) return { why: `the ${titled(kind)} "${name}", which is not there` };
  const [, key, of, holder] = /couldn't find key (\S+) in (Secret|ConfigMap) [^/\s]+\/(\S+)/.exec(message) ?? [];
  if (key !== undefined) return { why: `the key "${key}" of the ${of} "${holder}", which has no such key`, hint: KEY };
  const [, config, absent] = /references non-existent (config|secret) key: (\S+)/.exec(message) ?? [];
  if (config === undefined) return undefined;
  return { why: `the key "${absent}" of its ${titled(config)}, which has no such key`, hint: KEY };
}

const titled = (kind: string): string => (kind.toLowerCase() === "secret" ? "Secret" : "ConfigMap");

function worded(table: readonly Words[], message: string): Why | undefined {
  for (const [about, why, hint, isLasting] of table) {
    const caught = about.exec(message);
    if (caught)
      return {
        why: why.replaceAll(/\$(\d)/g, (_, n) => caught[Number(n)] ?? ""),
        ...(hint && { hint }),
        ...(isLasting && { isLasting }),
      };
  }
  return undefined;
}
