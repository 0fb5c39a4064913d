/**
 * Messages between our own programs that are not kept for later readers: which groups there are, and what a program prints at
 * the moment. They are repeated.
 *
 *   watcher ── groups.asked ──▶ launchers ── group.announced, one a group ──▶ watchers
 *                                         └─ groups.announced: these are all
 *
 *   reader ── log.asked ──▶ watchers ── log.offered ──▶ reader ── log.asked, naming the first that offered, every 15 s ──▶ watchers
 *                                       that watcher ── log.piece, log.piece, … ──▶ reader
 *
 * The failures this prevents: a watcher that acts on announcements which anybody at the broker could write, and a log that
 * anybody at the broker could ask for or read. Each message but `groups.asked` carries a sealed part that is bound to all other
 * fields (`boundTo`): without the key, nobody can write, change or read it. Logs have a key of their own, since a reader of logs
 * must not open the credentials in announcements. Fields may be added at any time; unknown fields are kept, since the sealed part
 * is bound to them too.
 */
import { z } from "zod";
import { GroupName, Installation, Uid } from "../ids.ts";
import { canonical } from "../json.ts";

const base64url = z.string().regex(/^[A-Za-z0-9_-]*$/, "Binary values are base64url.");

/** AES-256-GCM. `key` names one of the keys that both ends have; `box` is the encrypted text and its tag. */
export const Sealed = z.object({ key: z.string().max(64), nonce: base64url.max(64), box: base64url.max(512 * 1024) });

/** When the launcher first read this content, in milliseconds since 1970: a lower version never replaces a higher one. */
const Version = z.int().min(0);

/** One page or terminal that shows one log. Nobody can guess it, so nobody else hears what is sent to it. */
const Reader = z.string().regex(/^[0-9a-f-]{36}$/);
const Watcher = z.string().min(1).max(300);
/** An empty text, sealed: it shows that a program of ours wrote the other fields. */
const Proof = Sealed;

/** A reader asks again this often. */
export const LOG_ASKED_EVERY_MS = 15_000;
/** A watcher that was not asked again for this long stops reading, and a reader that heard nothing for this long asks anew. */
export const LOG_LEASE_MS = 45_000;
/** At most so many of the lines that are there already are sent. */
export const LOG_LINES_MOST = 5_000;

export const CONTROL = {
  "groups.asked": z.looseObject({ installation: Installation, watcher: Watcher }),
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
    /** If set, Jobs and CronJobs with this annotation are told as definitions: "job-assistant=enable". */
    annotation: z.string().max(600).optional(),
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
    sealed: Proof,
  }),
  "log.asked": z.looseObject({
    installation: Installation,
    reader: Reader,
    /** When the reader asked: an old message that somebody sends again is not believed. */
    at: z.iso.datetime(),
    group: GroupName,
    job: Uid,
    /** The number of earlier lines that are wanted: 0 if another watcher has sent them. */
    tailLines: z.int().min(0).max(LOG_LINES_MOST),
    /** The watcher whose offer was taken; all others do nothing. If absent, each watcher of the group may offer. */
    watcher: Watcher.optional(),
    sealed: Proof,
  }),
  /** Also the answer to each later `log.asked`: the watcher is still there. */
  "log.offered": z.looseObject({ installation: Installation, reader: Reader, watcher: Watcher, sealed: Proof }),
  "log.piece": z.looseObject({
    installation: Installation,
    reader: Reader,
    watcher: Watcher,
    /** Counts the pieces, from 1: a reader sees that one is missing. */
    number: z.int().min(1),
    /** A sealed `LogPiece`. */
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

/** The sealed content of `log.piece`. */
export const LogPiece = z.object({
  /** Lines are missing before the text: so many bytes if that is known, since more was printed than is sent. */
  gap: z.object({ bytes: z.int().min(1).optional() }).optional(),
  /** Whole lines, each with its end. */
  text: z.string(),
  /** True once the program has ended: nothing follows. */
  ends: z.boolean().optional(),
});
export type LogPiece = z.infer<typeof LogPiece>;

/** Returns the text to which an announcement's sealed part is bound: all other fields. */
export function boundTo(type: ControlType, data: Readonly<Record<string, unknown>>): string {
  return canonical({ type, data: { ...data, sealed: undefined } });
}

/** Returns "prod.group.announced": messages of one installation disturb no other installation at the same broker. */
export const controlKey = (installation: Installation, type: ControlType): string => `${installation}.${type}`;

/** Returns "prod.log.piece.<reader>": only that reader listens there. */
export const readerKey = (installation: Installation, type: "log.offered" | "log.piece", reader: string): string =>
  `${controlKey(installation, type)}.${reader}`;

/** The routing pattern for all that is sent to one reader of a log. */
export const toReader = (installation: Installation, reader: string): string => `${installation}.log.*.${reader}`;

/** The routing pattern for both announcements. */
export const announcements = (installation: Installation): string => `${installation}.*.announced`;
