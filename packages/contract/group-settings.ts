/**
 * A container group's limits and terms, as the groups file gives them.
 *
 * The failure this prevents: a setting that the groups file accepts and that never reaches the code that needs it. The settings
 * are one value, from the file through the ledger to placing, so a new setting needs only a row here and the line that uses it.
 * Rows of the ledger may be older than a setting, so a setting that is added after a release must be optional.
 */
import { z } from "zod";
import type { GroupName } from "./ids.ts";
import { Bytes, quantity } from "./units.ts";

/** The annotation by which a Job or CronJob of the namespace says that people may run it. */
const Discover = z
  .union([z.literal(true), z.strictObject({ annotation: z.string() })], 'It is true, or {annotation: "job-assistant=enable"}.')
  .transform((given) => (given === true ? { annotation: "job-assistant=enable" } : given))
  .refine(({ annotation }) => /^([a-z0-9.-]{1,253}\/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?=[^=\s]+$/.test(annotation), {
    error: 'An annotation is written as name=value, such as "job-assistant=enable".',
  });

const patterns = z.array(z.string().min(1).max(500)).min(1).max(1_000).optional();

export const GroupSettings = z.strictObject({
  limits: z
    .strictObject({
      /** The maximum number of attempts that have a slot at once. */
      jobs: z.int().min(1).max(100_000).default(100),
      /** Creates are claimed no faster than this; more attempts wait in line, or go to another group. */
      createsPerSecond: z.number().min(0.1).max(10_000).optional(),
      /** The room of all volumes that stand for runs at once, such as "2Ti". Absent: the cluster's quota alone decides. */
      storage: Bytes.optional(),
    })
    .prefault({}),
  /** `false`: Jobs without our finalizer, for clusters that forbid it. A Job may then vanish before its outcome is read. */
  hold: z.boolean().default(true),
  /** The cluster that `longshore up` has inside: its runs' hints are for the person at that machine, who has no kubectl. */
  embedded: z.boolean().optional(),
  /** What runs may use in the group: patterns with `*` for any characters, such as "registry.example.com/shop/*". */
  policy: z
    .strictObject({
      /** Absent: every image. */
      images: patterns,
      /** Secrets of the group's namespace, as variables or files. Absent: none. */
      secrets: patterns,
      /** Service accounts of the group's namespace. Absent: none by name; a pod then has the account `default` without its token. */
      serviceAccounts: patterns,
      /** Whether a run may have the token of its account, with which it may do in the cluster what the account may do. */
      tokens: z.boolean().optional(),
      /**
       * Whether a run may bring secret values of its own. They show it nothing that it did not know, but the launcher needs the
       * right to create Secrets for them, so it is asked for.
       */
      secretValues: z.boolean().optional(),
      /** Claims of volumes that are in the group's namespace already. Absent: none. */
      claims: patterns,
      /** Storage classes of volumes; "" is the cluster's default. Absent: every class. Empty: no volume is made here. */
      storageClasses: z.array(z.string().max(500)).max(1_000).optional(),
      /**
       * The level of Pod Security that a Job prepared in the cluster must meet, here and not only by the namespace's own label. The
       * pods that Longshore makes itself meet `baseline`.
       */
      podSecurity: z.enum(["privileged", "baseline", "restricted"]).optional(),
    })
    .prefault({}),
  /** Jobs and CronJobs of the namespace with this annotation can be run by name. Absent: none. */
  discover: Discover.optional(),
});
export type GroupSettings = Readonly<z.output<typeof GroupSettings>>;

/** False if no run can have a volume made in the group: then its launcher needs no permission for that. */
export const makesVolumes = ({ limits: { storage }, policy: { storageClasses } }: GroupSettings): boolean =>
  storageClasses?.length !== 0 && quantity(storage ?? "1") !== 0;

/** The key and the value of an annotation that is written as one text. */
export function annotationOf({ annotation }: NonNullable<GroupSettings["discover"]>): readonly [key: string, value: string] {
  const at = annotation.indexOf("=");
  return [annotation.slice(0, at), annotation.slice(at + 1)];
}

/** The kinds of objects beside Jobs that the launcher may have to make in a group, or to read. It needs permissions for no others. */
export interface Making {
  /** Reads CronJobs, as far as they are prepared for people to run. */
  readonly prepared?: boolean;
  readonly volumes?: boolean;
  readonly secretValues?: boolean;
  /** ConfigMaps: the anchor, which owns volumes, secret values and large files, and the large files themselves. */
  readonly anchors?: boolean;
}

export const madeIn = (settings: GroupSettings): Making => ({
  prepared: settings.discover !== undefined,
  volumes: makesVolumes(settings),
  secretValues: settings.policy.secretValues === true,
  anchors: allowsAnchors(settings.policy),
});

/** A group that lets runs have neither volumes nor secret values lets them have no large files: these need the same permission. */
export const allowsAnchors = ({ storageClasses, secretValues }: GroupSettings["policy"]): boolean =>
  storageClasses?.length !== 0 || secretValues === true;

/** A group of one namespace, without its credentials and without the way to its cluster. */
export interface ConfiguredGroup {
  readonly name: GroupName;
  readonly namespace: string;
  readonly settings: GroupSettings;
}
