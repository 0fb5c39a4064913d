/**
 * The fields of a container: as a request has them, with expressions, and with their values in place.
 *
 * The failure this prevents: two descriptions of one field, of which the one for values lets something through.
 */
import { z } from "zod";
import { orExpression, orTemplate } from "../expressions/template.ts";
import { Bytes, Quantity } from "../units.ts";

export const text = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[^\0]*$/, "A NUL character cannot be passed to a program.");

/** The limit is repeated in `meta`, since a JSON Schema cannot see into a refinement. */
export const table = <T extends z.ZodType>(name: z.ZodString, values: T, most: number) =>
  z
    .record(name, values)
    .refine((all) => Object.keys(all).length <= most, {
      error: `At most ${most} entries are allowed.`,
      params: { code: "OutOfRange" },
    })
    .meta({ maxProperties: most });

const EnvName = z
  .string()
  .regex(
    /^[A-Za-z_][A-Za-z0-9_.-]{0,254}$/,
    "An environment variable's name is letters, digits, _ . - and does not start with a digit.",
  );
const EnvField = z.strictObject({
  field: z.enum(["metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "status.podIP", "status.hostIP"]),
});

/** The name of an object in the group's namespace. */
export const objectName = (what: string) =>
  z
    .string()
    .regex(
      /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/,
      `${what} has a name of lower-case letters, digits, "-" and ".", at most 253 characters.`,
    );
export const SecretName = objectName("A Secret");
const EnvSecret = z.strictObject({
  secret: SecretName,
  key: z.string().regex(/^[-._A-Za-z0-9]{1,253}$/, "A Secret's key is letters, digits, - _ and ."),
});

/** The name of a value among the run's own `secretValues`, which is a key of a Secret. */
export const SecretKey = z
  .string()
  .regex(
    /^(?!\.{1,2}$)[-._A-Za-z0-9]{1,253}$/,
    "A secret value's name is letters, digits, - _ and ., and neither . nor .. alone.",
  );
const EnvSecretValue = z.strictObject({ secretValue: SecretKey });

/** Each value is a text, a field that only the cluster knows, or a key of a Secret that only the pod sees. */
const Env = table(EnvName, z.union([text(32_768), EnvField, EnvSecret, EnvSecretValue]), 1000);

const amountsOf = <T extends z.ZodType>(amount: T, bytes: T) =>
  z.strictObject({ cpu: amount.optional(), memory: bytes.optional(), "ephemeral-storage": bytes.optional() });
const resourcesOf = <T extends z.ZodType>(amount: T, bytes: T) =>
  z.strictObject({
    limits: amountsOf(amount, bytes)
      .describe("At most this much: `cpu`, `memory`, `ephemeral-storage`. Above its memory it is killed.")
      .optional(),
    requests: amountsOf(amount, bytes)
      .describe("A node must have this much free. Without it, as much as the limit says.")
      .optional(),
  });

const Image = z
  .string()
  .min(1, 'An image is needed, such as "registry.example/app:1.4".')
  .max(512)
  .regex(/^[^\s\0]*$/, "An image's name holds no spaces.");

const Words = z.array(text(131_072)).max(1000);
const Folder = text(4096).regex(/^\//, "A working directory is an absolute path.");
export const ScratchPath = text(4096).regex(
  /^(\/(?!\.{1,2}(\/|$))[^/:]+)+$/,
  "A path of scratch space is absolute, and holds no colon, no . or .. and no / at its end.",
);

/** `missing` is said instead of the usual sentence if there is no image. */
export const imageOr = (missing?: string) => orTemplate(Image, missing).describe("What to run.");

/** The fields of one container, in which expressions may stand. */
export const container = {
  image: imageOr(),
  command: orExpression(Words, "a list of texts")
    .describe(
      "The program and its words, in place of the image's entrypoint. As in Kubernetes, `$(NAME)` becomes the variable's value, if there is such a variable, and `$$` one `$`.",
    )
    .optional(),
  args: orExpression(Words, "a list of texts")
    .describe("The program's arguments, in place of the image's. `$(NAME)` and `$$` are replaced as in `command`.")
    .optional(),
  env: orExpression(Env, "an object")
    .meta({
      description:
        'Environment variables by their names: a text, which is kept in clear; `{"field": "spec.nodeName"}`, which the cluster fills in; `{"secret": "db", "key": "password"}`, a key of a Secret in the namespace of the group, which only the pod sees; or `{"secretValue": "token"}`, one of the run\'s `secretValues`.',
    })
    .optional(),
  resources: resourcesOf(orTemplate(Quantity), orTemplate(Bytes)).optional(),
  workingDir: orTemplate(Folder).describe("The folder in which the program starts. Without it, the image's.").optional(),
};

/** A container whose expressions were replaced by their values. */
export const renderedContainer = {
  image: Image,
  command: Words.optional(),
  args: Words.optional(),
  env: Env.optional(),
  resources: resourcesOf(Quantity, Bytes).optional(),
  workingDir: Folder.optional(),
};
export type RenderedContainer = z.infer<z.ZodObject<typeof renderedContainer>>;

/** Fields of a container that a restart may correct. Corrections are values: no expression in them is replaced. */
export const correctable = { image: Image, env: Env, resources: resourcesOf(Quantity, Bytes) };
