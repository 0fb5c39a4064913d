/**
 * What launchers and watchers say to each other in passing: which groups there are. Nothing of it is kept for whoever comes
 * later; it is said again, and can be asked for.
 *
 *   watcher ── groups.asked ──▶ launchers ── group.announced, one a group ──▶ watchers
 *                                         └─ groups.announced: these are all
 *
 * The failure this prevents: a watcher that believes what anybody at the broker says. Both announcements carry a sealed part
 * that is bound to all the rest (`boundTo`): who has no seal key can neither write one nor change one. Fields may be added at
 * any time; unknown ones are kept, since they are bound too.
 */
import { z } from "zod";
import { canonical } from "./canonical.ts";
import { GroupName, Installation } from "./ids.ts";

const base64url = z.string().regex(/^[A-Za-z0-9_-]*$/, "Binary values are base64url.");

/** AES-256-GCM; `key` names one of the keys that both ends hold, `box` is the text and its tag. */
export const Sealed = z.object({ key: z.string().max(64), nonce: base64url.max(64), box: base64url.max(512 * 1024) });

/** When the launcher first read this content, in milliseconds since 1970: a lower one never replaces a higher one. */
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
      /** PEM; without it the watcher's own trust store judges the cluster. */
      ca: z.string().optional(),
      /** The name that the certificate is for, where it is not the address's host. */
      serverName: z.string().optional(),
      verify: z.boolean(),
    }),
    /** Set: its cluster allows no watch, and it is listed this often instead. */
    pollSeconds: z.number().min(1).max(30).optional(),
    /** A `WatchCredential`. */
    sealed: Sealed,
  }),
  "groups.announced": z.looseObject({
    installation: Installation,
    launcher: z.string().min(1).max(300),
    /** When it was said. */
    at: z.iso.datetime(),
    /** It will be said again after so long at most: a launcher that is silent for much longer is not there. */
    againSeconds: z.number().positive().max(86_400),
    groups: z.array(z.looseObject({ group: GroupName, version: Version })).max(5_000),
    /** An empty text: it shows that a launcher of ours wrote the rest. */
    sealed: Sealed,
  }),
} as const;

export type ControlType = keyof typeof CONTROL;
export type ControlData<T extends ControlType> = z.infer<(typeof CONTROL)[T]>;
export type Control = {
  readonly [T in ControlType]: { readonly type: T; readonly id: string; readonly source: string; readonly data: ControlData<T> };
}[ControlType];

/** What is sealed in `group.announced`: who the watcher is at the cluster. Never the launcher's own credential. */
export const WatchCredential = z.object({
  /** The header's whole value: "Bearer …". */
  authorization: z.string().optional(),
  /** PEM. */
  cert: z.string().optional(),
  key: z.string().optional(),
});
export type WatchCredential = z.infer<typeof WatchCredential>;

/** The text to which an announcement's sealed part is bound: everything that stands around it. */
export function boundTo(type: ControlType, data: Readonly<Record<string, unknown>>): string {
  return canonical({ type, data: { ...data, sealed: undefined } });
}

/** "prod.group.announced": what is said for one installation disturbs no other at the same broker. */
export const controlKey = (installation: Installation, type: ControlType): string => `${installation}.${type}`;

/** The pattern for both announcements. */
export const announcements = (installation: Installation): string => `${installation}.*.announced`;
