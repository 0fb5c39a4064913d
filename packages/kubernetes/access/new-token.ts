/** How a person renews a group's token. */
import { quoted } from "@longshore/runtime/shell-word.ts";
import type { RoleName } from "../permissions/rbac.ts";

export interface TokenPlace {
  readonly role: RoleName;
  readonly namespace: string;
  readonly file: string;
}

/** The shell command that writes a new token into the file. */
export const newToken = ({ role, namespace, file }: TokenPlace): string =>
  `kubectl -n ${namespace} create token longshore-${role} --duration 24h > ${quoted(file)}`;
