/**
 * The volumes of a run and the places where its steps mount them.
 *
 * The failure this prevents: a mount that no cluster can serve (a volume that is not there, two steps at once on a volume of one
 * pod), which would be found out only when the pod of the third step waits for ever.
 */
import { z } from "zod";
import { orExpression, orTemplate } from "../expressions/template.ts";
import { Bytes, Duration, quantity } from "../units.ts";

/** Names of Kubernetes objects and of a pod's volumes. */
const dnsLabel = (what: string) =>
  z
    .string()
    .regex(
      /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
      `${what} is a lower-case DNS label: letters, digits and '-', starting and ending with a letter or digit, with at most 63 characters.`,
    );

/** Names of claims and storage classes may hold dots. */
const dnsName = (what: string) =>
  z
    .string()
    .max(253)
    .regex(
      /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/,
      `${what} is lower-case letters, digits, '-' and '.', starting and ending with a letter or digit.`,
    );

const VolumeName = dnsLabel("A volume's name");

const Access = z.enum(["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany", "ReadWriteOncePod"]);

const Size = Bytes.refine((text) => quantity(text) !== 0, "A volume's size is more than 0.");

const StorageClass = dnsName("A storage class's name");

/** A PiB: more is a mistake in a parameter. */
const GIB_MAX = 2 ** 20;
const Gib = z.int().min(1).max(GIB_MAX);

/** `labels` comes from request.ts, which has the rules of labels. */
export const requestedVolume = <L extends z.ZodType>(labels: L) =>
  volumeOf({
    size: z.union([
      ...orTemplate(Size).options,
      z.strictObject({
        gib: orExpression(Gib, "a whole number").describe("How many GiB: a number, or one expression with such a value."),
        plusGib: z.int().min(0).max(GIB_MAX).describe("So many GiB more.").optional(),
      }),
    ]),
    class: orTemplate(StorageClass),
    labels,
  });

/** With its values in place. */
export const renderedVolume = <L extends z.ZodType>(labels: L) => volumeOf({ size: Size, class: StorageClass, labels });

const volumeOf = <S extends z.ZodType, C extends z.ZodType, L extends z.ZodType>(of: {
  readonly size: S;
  readonly class: C;
  readonly labels: L;
}) => {
  const made = {
    name: VolumeName.describe("What `mounts` call it."),
    size: of.size.describe("How much room it has, such as `10Gi`, or `{gib, plusGib}`: GiB as whole numbers, added up."),
    class: of.class.describe("The storage class. Without it, the cluster's default.").optional(),
    access: Access.meta({
      description:
        "Who may mount it at once: the pods of one node (`ReadWriteOnce`), of many (`ReadWriteMany`, `ReadOnlyMany`), or one pod (`ReadWriteOncePod`).",
      default: "ReadWriteOnce",
    }).optional(),
    labels: of.labels.optional(),
  };
  return z.union([
    z.strictObject({
      ...made,
      life: z
        .enum(["run", "step"])
        .meta({
          description:
            "`run`: the steps share it, and it goes when the run is over (`keepVolumesFor`). `step`: each pod has one of its own, which goes with the pod.",
          default: "run",
        })
        .optional(),
    }),
    z.strictObject({
      name: made.name,
      claim: dnsName("A claim's name").describe("A PersistentVolumeClaim that is in the group's namespace already, and stays."),
    }),
  ]);
};

export const Mount = z.strictObject({
  volume: VolumeName.describe("The volume's name."),
  path: z
    .string()
    .max(4096)
    .regex(/^\/[^\0:]+$/, 'A mount\'s path is absolute and not "/" itself; it holds no ":".')
    .describe("Where the program finds it."),
  readOnly: z.boolean().meta({ description: "The program may not write there.", default: false }).optional(),
});
export type Mount = z.infer<typeof Mount>;

/** How long an ended run keeps its volumes, and with them its Jobs and pods. */
export const KeepVolumesFor = z.strictObject({
  succeeded: Duration.meta({
    description: "How long the volumes of a run that succeeded stay. Its Jobs and pods go with them.",
    default: "0s",
  }).optional(),
  failed: Duration.meta({
    description:
      "The same for a run that failed or was lost: until then a restart finds its files. Those of a cancelled run go at once.",
    default: "24h",
  }).optional(),
});

/** A size as a request says it. */
export type Size = string | { readonly gib: number | string; readonly plusGib?: number | undefined };

export interface MadeVolume<S = string> {
  readonly name: string;
  readonly size: S;
  readonly class?: string | undefined;
  readonly access?: z.infer<typeof Access> | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly life?: "run" | "step" | undefined;
}
export type Volume<S = string> = MadeVolume<S> | { readonly name: string; readonly claim: string };
/** A volume as a request says it, with expressions. */
export type RequestedVolume = Volume<Size>;

/** False for a claim that is there already. */
export const isMade = <S>(volume: Volume<S>): volume is MadeVolume<S> => "size" in volume;

/** True for a volume that is made for the run and outlives its pods. */
export const isOfRun = <S>(volume: Volume<S>): volume is MadeVolume<S> => isMade(volume) && volume.life !== "step";

export const accessOf = ({ access }: Pick<MadeVolume, "access">): NonNullable<MadeVolume["access"]> => access ?? "ReadWriteOnce";

/** Writes a size as Kubernetes does. `gib`: the value of the size's own `gib`. */
export function sizeText({ plusGib = 0 }: Exclude<Size, string>, gib: unknown): string | { readonly problem: string } {
  const found = Gib.safeParse(gib);
  return found.success
    ? `${found.data + plusGib}Gi`
    : { problem: `The value of \`gib\` must be a whole number from 1 to ${GIB_MAX}.` };
}

interface Mounting {
  readonly name: string;
  readonly needs?: readonly string[] | undefined;
  readonly mounts?: readonly Mount[] | undefined;
}

/** Returns the steps that this one runs after, directly or not: they have ended when it begins. */
function ancestorsOf(name: string, steps: readonly Mounting[]): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (of: string): void => {
    for (const need of steps.find((it) => it.name === of)?.needs ?? []) {
      if (found.has(need)) continue;
      found.add(need);
      visit(need);
    }
  };
  visit(name);
  return found;
}

/** Returns the pairs of steps that mount the volume and may run at the same time. */
function overlaps(volume: string, steps: readonly Mounting[]): readonly (readonly [string, string])[] {
  const users = steps.filter(({ mounts = [] }) => mounts.some((it) => it.volume === volume)).map(({ name }) => name);
  const before = new Map(users.map((name) => [name, ancestorsOf(name, steps)]));
  return users.flatMap((one, at) =>
    users
      .slice(at + 1)
      .flatMap((other) => (before.get(one)?.has(other) || before.get(other)?.has(one) ? [] : [[one, other] as const])),
  );
}

/**
 * Returns, by step, the name under which its pods have to meet on one node: steps that may run at the same time and share a volume
 * of one node, directly or through other steps. Kubernetes takes several affinity terms of a pod as one, so such steps share one name.
 */
export function nodesShared(volumes: readonly Volume<unknown>[], steps: readonly Mounting[]): ReadonlyMap<string, string> {
  const meets = new Map<string, string>();
  for (const volume of volumes) {
    if (!isOfRun(volume) || accessOf(volume) !== "ReadWriteOnce") continue;
    for (const pair of overlaps(volume.name, steps)) {
      const known = pair.flatMap((step) => meets.get(step) ?? []);
      const name = known[0] ?? volume.name;
      for (const [step, other] of meets) if (known.includes(other)) meets.set(step, name);
      for (const step of pair) meets.set(step, name);
    }
  }
  return meets;
}

type Found = readonly (readonly [path: string, message: string])[];

/** `at` is where a step's fields stand: "/steps/0", or "" for the short form. */
export function volumeProblems(
  volumes: readonly Volume<unknown>[],
  steps: readonly (Mounting & { readonly at: string })[],
): Found {
  const names = volumes.map(({ name }) => name);
  const twice = volumes.flatMap(
    ({ name }, which): Found =>
      names.indexOf(name) < which ? [[`/volumes/${which}/name`, `The volume "${name}" is there twice.`]] : [],
  );
  return [...twice, ...steps.flatMap((step) => mountProblems(step, names))];
}

function mountProblems({ mounts = [], at }: Mounting & { readonly at: string }, names: readonly string[]): Found {
  const there = names.length === 0 ? "the run has no `volumes`" : `the run has ${names.join(", ")}`;
  return mounts.flatMap(({ volume }, which): Found => {
    const here = `${at}/mounts/${which}`;
    return [
      ...(names.includes(volume) ? [] : [[`${here}/volume`, `No volume is named "${volume}"; ${there}.`] as const]),
      ...(mounts.findIndex((it) => it.volume === volume) < which
        ? [[`${here}/volume`, `The step mounts the volume "${volume}" twice.`] as const]
        : []),
    ];
  });
}

/** Asked of a sound pipeline alone: else nobody knows which steps may run at the same time. */
export function onePodProblems(volumes: readonly Volume<unknown>[], steps: readonly Mounting[]): Found {
  return volumes.flatMap((volume, which): Found => {
    if (!isOfRun(volume) || accessOf(volume) !== "ReadWriteOncePod") return [];
    const [pair] = overlaps(volume.name, steps);
    if (pair === undefined) return [];
    const [one, other] = pair;
    const message = `Only one pod may mount a volume of ReadWriteOncePod, and the steps "${one}" and "${other}" may run at the same time: let one need the other, or choose another access.`;
    return [[`/volumes/${which}/access`, message]];
  });
}
