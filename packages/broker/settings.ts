/**
 * A program's settings of its broker, and the names of Longshore's queues and exchanges. Every program reads them here.
 *
 * The bugs this prevents: a program that ignores `userFile`, and a program that looks for messages under another name than
 * their publishers use.
 */
import { oneSecret, secretOf, secretSetting } from "@longshore/runtime/config/secret-settings.ts";
import { z } from "zod";
import type { OpenBroker } from "./brokers.ts";

export const NAMES = {
  commands: "longshore.commands",
  facts: "longshore.facts",
  events: "longshore.events",
  history: "longshore.history",
  control: "longshore.control",
  unrouted: "longshore.unrouted",
  quarantine: "longshore.quarantine",
  follow: "longshore.follow.", // the prefix of followers' temporary queues
};
export type Names = Readonly<typeof NAMES>;

/** A reply must never land in a queue of ours: else anybody could put forged messages among the facts. */
export function isOurs(queue: string, names: Names): boolean {
  return queue === "" || queue.startsWith(names.follow) || Object.values(names).includes(queue);
}

/** Every broker accepts these characters in the name of a queue, an exchange, a subject or a row. */
const name = z
  .string()
  .regex(
    /^(?!amq\.)[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/,
    "a name at the broker has 1 to 100 characters: a letter or digit, then letters, digits and . _ -; and not amq.",
  );
const names = Object.fromEntries(Object.entries(NAMES).map(([which, usual]) => [which, name.default(usual)]));

const BrokerNames = z.strictObject(names as Record<keyof Names, z.ZodDefault<z.ZodString>>).check(({ value, issues }) => {
  for (const [which, name] of Object.entries(value)) {
    const other = Object.entries(value).find(([it, given]) => it !== which && given === name)?.[0];
    const message = `"${name}" is the name of ${other} as well; give each a name of its own`;
    if (other !== undefined) issues.push({ code: "custom", message, input: name, path: [which] });
  }
});

/**
 * The broker's URL, its user and password if the URL does not contain them (each may be in a file), and the names at the
 * broker.
 */
export const brokerSettings = () =>
  z
    .strictObject({
      ...secretSetting("url"),
      ...secretSetting("user"),
      ...secretSetting("password"),
      names: BrokerNames.prefault({}),
    })
    .check(oneSecret("url"));

/** Turns the settings into options: `openBroker({ ...brokerOf(config), log, clock })`. */
export function brokerOf({
  broker,
}: {
  readonly broker: z.output<ReturnType<typeof brokerSettings>>;
}): Pick<OpenBroker, "url" | "user" | "password" | "names"> {
  return {
    url: secretOf(broker, "url")?.reveal() ?? "",
    user: secretOf(broker, "user")?.reveal(),
    password: secretOf(broker, "password")?.reveal(),
    names: broker.names,
  };
}
