/** How a person renews a group's token. */
import type { RoleName } from "../permissions/rbac.ts";

export interface TokenPlace {
  readonly role: RoleName;
  readonly namespace: string;
  readonly file: string;
}

/** The shell command that writes a new token into the file. */
export const newToken = ({ role, namespace, file }: TokenPlace): string =>
  `kubectl -n ${namespace} create token longshore-${role} --duration 24h > ${inShell(file)}`;

const inShell = (word: string): string => (/^[\w./@%+=:,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
