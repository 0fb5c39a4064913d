/**
 * What a group's policy allows a run to use. Images may be anything unless the policy names some; Secrets, service accounts and
 * their tokens are what a run may use only if the policy names them.
 *
 * The failure this prevents: whoever may publish a run reads every Secret of the namespace, since a pod may mount any of them.
 */
import { allowsAnchors, type GroupSettings } from "@longshore/contract/group-settings.ts";
import { secretNames } from "@longshore/contract/request/secret-values.ts";
import type { StepRequest } from "@longshore/contract/request/request.ts";
import type { PlannedStorage } from "../run/record.ts";

export type Policy = GroupSettings["policy"];

/** The things of a step that a policy judges. */
export interface Uses {
  readonly image?: string;
  /** The images of its init containers. */
  readonly initImages?: readonly string[];
  readonly secrets?: readonly string[];
  readonly serviceAccount?: string;
  readonly token?: true;
  /** It needs secret values that the run brings with it. */
  readonly secretValues?: true;
  /** Claims that are there already. */
  readonly claims?: readonly string[];
  readonly storageClasses?: readonly string[];
  /** It has large files, and perhaps volumes or secret values. */
  readonly anchor?: boolean;
}

/** The account of a namespace that every pod has which names no other. */
const DEFAULT_ACCOUNT = "default";

type Asked = { readonly [F in "image" | "env" | "secrets" | "serviceAccount"]?: StepRequest[F] | undefined } & {
  readonly init?: readonly { readonly image?: string | undefined; readonly env?: StepRequest["env"] }[] | undefined;
};

/** An `env` that is one expression names no Secret: no value may. */
export function usesOf({ image, env, secrets, serviceAccount, init = [] }: Asked): Uses {
  const variables = [env, ...init.map((it) => it.env)].flatMap((it) => (typeof it === "object" ? Object.values(it) : []));
  const initImages = init.flatMap((it) => it.image ?? []);
  const named = [
    ...variables.flatMap((it) => (typeof it === "object" && "secret" in it ? [it.secret] : [])),
    ...(secrets ?? []).flatMap((it) => ("name" in it ? [it.name] : [])),
  ];
  const account = serviceAccount?.name ?? (serviceAccount?.token === true ? DEFAULT_ACCOUNT : undefined);
  return {
    ...(image !== undefined && { image }),
    ...(initImages.length > 0 && { initImages }),
    ...(named.length > 0 && { secrets: [...new Set(named)] }),
    ...(account !== undefined && { serviceAccount: account }),
    ...(serviceAccount?.token === true && { token: true }),
    ...(secretNames([{ env, init: init as StepRequest["init"], secrets }]).length > 0 && { secretValues: true }),
  };
}

/** Returns what the run as a whole uses, whichever of its steps. */
export const storageUses = ({ claims = [], classes = [], anchor }: Partial<PlannedStorage> = {}): Uses => ({
  claims,
  storageClasses: classes,
  anchor: anchor !== undefined,
});

/** What a step uses with a restart's correction: what it used before stays, since a correction adds variables one by one. */
export const usesWith = (before: Uses, { secrets = [], ...others }: Uses): Uses => {
  const all = [...new Set([...(before.secrets ?? []), ...secrets])];
  return { ...before, ...others, ...(all.length > 0 && { secrets: all }) };
};

/** Returns the first thing that the policy does not allow, as a person would call it. */
export function notAllowed(policy: Policy, uses: Uses): string | undefined {
  const { image, initImages = [], secrets = [], serviceAccount, token, secretValues, claims = [], storageClasses = [] } = uses;
  const { images, secrets: readable = [], serviceAccounts = [], tokens = false } = policy;
  const foreign = images && [image ?? [], initImages].flat().find((it) => !isAnyOf(it, images));
  if (foreign !== undefined) return `the image ${foreign}`;
  const secret = secrets.find((it) => !isAnyOf(it, readable));
  if (secret !== undefined) return `the Secret ${secret}`;
  if (serviceAccount !== undefined && !isAnyOf(serviceAccount, serviceAccounts)) return `the service account ${serviceAccount}`;
  if (token && !tokens) return "a service account's token";
  if (secretValues && policy.secretValues !== true) return "secret values of a run's own";
  const claim = claims.find((it) => !isAnyOf(it, policy.claims ?? []));
  if (claim !== undefined) return `the claim ${claim}`;
  const storageClass = storageClasses.find((it) => !isAnyOf(it, policy.storageClasses ?? ["*"]));
  if (storageClass === undefined)
    return uses.anchor === true && !allowsAnchors(policy) ? "large files, as neither volumes nor secret values" : undefined;
  return storageClass === "" ? "volumes of the cluster's default class" : `volumes of the class ${storageClass}`;
}

const isAnyOf = (name: string, patterns: readonly string[]): boolean => patterns.some((it) => isLike(name, it));

/** Matched piece by piece: a regular expression made from a user's text could run for ever. */
function isLike(name: string, pattern: string): boolean {
  const [head = "", ...rest] = pattern.split("*");
  if (rest.length === 0) return name === pattern;
  const tail = rest.pop() ?? "";
  if (!name.startsWith(head) || !name.endsWith(tail)) return false;
  let from = head.length;
  for (const piece of rest) {
    const found = name.indexOf(piece, from);
    if (found === -1) return false;
    from = found + piece.length;
  }
  return from <= name.length - tail.length;
}
