/** How a person renews a group's token. */
import { quoted } from "@longshore/runtime/shell-word.ts";
import type { RoleName } from "../permissions/rbac.ts";

export interface TokenPlace {
  readonly role: RoleName;
  readonly namespace: string;
  readonly file: string;
}

/**
 * The shell command that writes a new token into the file. The file gets its name only once the token is whole: if kubectl
 * fails, `> FILE` would leave an empty file where a good token stood.
 */
export function newToken({ role, namespace, file }: TokenPlace): string {
  const fresh = quoted(`${file}.new`);
  return `kubectl -n ${namespace} create token longshore-${role} --duration 24h > ${fresh} && mv ${fresh} ${quoted(file)}`;
}
