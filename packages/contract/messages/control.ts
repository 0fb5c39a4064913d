/**
 * Messages between launchers and watchers about which groups there are. They are not kept for later readers, but they are
 * repeated, and a watcher can ask for them.
 *
 *   watcher ── groups.asked ──▶ launchers ── group.announced, one a group ──▶ watchers
 *                                         └─ groups.announced: these are all
 *
 * The failure this prevents: a watcher that acts on announcements which anybody at the broker could write. Both announcements
 * carry a sealed part that is bound to all other fields (`boundTo`): without the seal key, nobody can write or change an
 * announcement. Fields may be added at any time; unknown fields are kept, since the sealed part is bound to them too.
 */
import { z } from "zod";
import { GroupName, Installation } from "../ids.ts";
import { canonical } from "../json.ts";

const base64url = z.string().regex(/^[A-Za-z0-9_-]*$/, "Binary values are base64url.");

/** AES-256-GCM. `key` names one of the keys that both ends have; `box` is the encrypted text and its tag. */
export const Sealed = z.object({ key: z.string().max(64), nonce: base64url.max(64), box: base64url.max(512 * 1024) });

/** When the launcher first read this content, in milliseconds since 1970: a lower version never replaces a higher one. */
const Version = z.int().min(0);

export const CONTROL = {
  "groups.asked": z.looseObject({ installation: Installation, watcher: z.string().min(1).max(300) }),
  "group.announced": z.looseObject({
    installation: Installation,
    launcher: z.string().min(1).max(300),
    group: GroupName,
    version: Version,
    namespace: z.string().min(1).max(63),
    cluster: z.looseObject({
      server: z.string().min(1).max(2_000),
      /** PEM. If absent, the watcher checks the cluster's certificate with its own trust store. */
      ca: z.string().optional(),
      /** The name that the certificate is for, if it is not the address's host. */
      serverName: z.string().optional(),
      verify: z.boolean(),
    }),
    /** If set, the group's cluster allows no watch: the watcher lists it this often instead. */
    pollSeconds: z.number().min(1).max(30).optional(),
    /** A sealed `WatchCredential`. */
    sealed: Sealed,
  }),
  "groups.announced": z.looseObject({
    installation: Installation,
    launcher: z.string().min(1).max(300),
    /** When this announcement was made. */
    at: z.iso.datetime(),
    /** The announcement is repeated after at most this long: a launcher that is silent for much longer is gone. */
    againSeconds: z.number().positive().max(86_400),
    groups: z.array(z.looseObject({ group: GroupName, version: Version })).max(5_000),
    /** An empty text, sealed: it shows that a launcher of ours wrote the other fields. */
    sealed: Sealed,
  }),
} as const;

export type ControlType = keyof typeof CONTROL;
export type ControlData<T extends ControlType> = z.infer<(typeof CONTROL)[T]>;
export type Control = {
  readonly [T in ControlType]: { readonly type: T; readonly id: string; readonly source: string; readonly data: ControlData<T> };
}[ControlType];

/** The sealed content of `group.announced`: the watcher's credential at the cluster, never the launcher's own. */
export const WatchCredential = z.object({
  /** The header's whole value: "Bearer …". */
  authorization: z.string().optional(),
  /** PEM. */
  cert: z.string().optional(),
  key: z.string().optional(),
});
export type WatchCredential = z.infer<typeof WatchCredential>;

/** Returns the text to which an announcement's sealed part is bound: all other fields. */
export function boundTo(type: ControlType, data: Readonly<Record<string, unknown>>): string {
  return canonical({ type, data: { ...data, sealed: undefined } });
}

/** Returns "prod.group.announced": messages of one installation disturb no other installation at the same broker. */
export const controlKey = (installation: Installation, type: ControlType): string => `${installation}.${type}`;

/** The routing pattern for both announcements. */
export const announcements = (installation: Installation): string => `${installation}.*.announced`;
