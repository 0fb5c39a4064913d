/**
 * How much a container group takes and on which terms, as the groups file says it.
 *
 * The failure this prevents: a setting that the file may name and that is lost on its way to where it counts. The settings are
 * one value, from the file over the ledger to placing, so a new one is a row here and the line that uses it. Rows of the ledger
 * may be older than a setting: a setting that is added after a release is optional.
 */
import { z } from "zod";
import type { GroupName } from "./ids.ts";

export const GroupSettings = z.strictObject({
  limits: z
    .strictObject({
      /** How many attempts may hold a slot at once. */
      jobs: z.int().min(1).max(100_000).default(100),
      /** Creates are claimed no faster; the surplus waits in line, or goes to another group. */
      createsPerSecond: z.number().min(0.1).max(10_000).optional(),
    })
    .prefault({}),
  /** `false`: Jobs without our finalizer, for clusters that forbid it. A Job may then vanish before its outcome is read. */
  hold: z.boolean().default(true),
  /** What may run there: image patterns with `*` for any characters, such as "registry.example.com/shop/*". Absent: every image. */
  policy: z.strictObject({ images: z.array(z.string().min(1).max(500)).min(1).max(1_000).optional() }).prefault({}),
});
export type GroupSettings = Readonly<z.output<typeof GroupSettings>>;

/** A group of one namespace, without its credentials and without the way to its cluster. */
export interface ConfiguredGroup {
  readonly name: GroupName;
  readonly namespace: string;
  readonly settings: GroupSettings;
}
