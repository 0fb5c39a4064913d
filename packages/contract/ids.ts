/**
 * The identities that cross the wire, each with its own brand, so that a step's name never stands where a run's id should.
 *
 * Ids are plain ASCII: two ids that look alike to a person but differ in bytes would be two runs where she meant one.
 */
import { z } from "zod";

const dns = "a lower-case DNS label: letters, digits and '-', starting and ending with a letter or digit";

/** Upstream's idempotency key. May hold "/" so that upstream can nest its own names. */
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

/** No dots, since it is one word of a routing key; "/" joins a group and its namespace when it has several. */
export const GroupName = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$/,
    `A group's name is ${dns}; "/" may join it and its namespace.`,
  )
  .brand<"GroupName">();
export type GroupName = z.infer<typeof GroupName>;

export const TenantName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, `A tenant's name is ${dns}.`)
  .brand<"TenantName">();
export type TenantName = z.infer<typeof TenantName>;

/** Without configured tenants everybody is this one, and events of groups are told to it. */
export const ONLY_TENANT = TenantName.parse("default");

/** Labels every object we make; installations with different names never touch each other's. */
export const Installation = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/, `An installation's name is ${dns}, with at most 40 characters.`)
  .brand<"Installation">();
export type Installation = z.infer<typeof Installation>;

/** What the API server calls one object for its whole life; names are reused, these are not. */
export const Uid = z.string().min(1).max(64).brand<"Uid">();
export type Uid = z.infer<typeof Uid>;
