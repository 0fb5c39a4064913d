/**
 * The identities in messages, each with its own brand, so that a step's name never stands where a run's id belongs.
 *
 * Ids are plain ASCII. Otherwise two ids could look alike and differ in bytes: two runs, although the person meant one.
 */
import { z } from "zod";

const dns = "a lower-case DNS label: letters, digits and '-', starting and ending with a letter or digit";

/** Upstream's idempotency key. May contain "/", so that upstream can nest its own names. */
export const RunId = z
  .string()
  .min(1, "A run needs an id of 1 to 200 characters, chosen by you; the same id is the same run.")
  .max(200, "A run's id has at most 200 characters.")
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:/@+=-]*$/,
    "A run's id is ASCII: a letter or digit, then letters, digits and . _ : / @ + = - only.",
  )
  .brand<"RunId">();
export type RunId = z.infer<typeof RunId>;

export const StepName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$/, `A step's name is ${dns}, with at most 30 characters.`)
  .brand<"StepName">();
export type StepName = z.infer<typeof StepName>;

/**
 * Contains no dots, since the name is one word of a routing key. If a group has several namespaces, "/" joins group and
 * namespace.
 */
export const GroupName = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$/,
    `A group's name is ${dns}; "/" may join it and its namespace.`,
  )
  .brand<"GroupName">();
export type GroupName = z.infer<typeof GroupName>;

/**
 * A definition's name. "/" stands only in names of definitions that live in a cluster (group, perhaps namespace, object), so
 * that a file and a cluster never define the same name.
 */
export const DefinitionName = z
  .string()
  .max(200, "A definition's name has at most 200 characters.")
  .regex(
    /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(\/[a-z0-9]([a-z0-9.-]*[a-z0-9])?){0,2}$/,
    "A definition's name is lower-case letters, digits, '-' and '.', starting and ending with a letter or digit.",
  )
  .brand<"DefinitionName">();
export type DefinitionName = z.infer<typeof DefinitionName>;

export const TenantName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, `A tenant's name is ${dns}.`)
  .brand<"TenantName">();
export type TenantName = z.infer<typeof TenantName>;

/** The tenant of all publishers if no tenants are configured. Events of groups always go to this tenant. */
export const ONLY_TENANT = TenantName.parse("default");

/** Labels every object that we make. Installations with different names never touch each other's objects. */
export const Installation = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/, `An installation's name is ${dns}, with at most 40 characters.`)
  .brand<"Installation">();
export type Installation = z.infer<typeof Installation>;

/** The API server's identity for one object, for its whole life. Names are reused, UIDs are not. */
export const Uid = z.string().min(1).max(64).brand<"Uid">();
export type Uid = z.infer<typeof Uid>;
