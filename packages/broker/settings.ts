/**
 * A program's settings of its broker. Every program reads its broker's settings here.
 *
 * The bugs this prevents: a program that forgets the user's file, and one that looks for the others' messages under another
 * name.
 */
import { oneSecret, secretOf, secretSetting } from "@longshore/runtime/config/secret-settings.ts";
import { z } from "zod";
import { NAMES, type Names } from "./names.ts";
import type { OpenBroker } from "./open.ts";

/** Every broker accepts these characters in the name of a queue, an exchange, a subject or a row. */
const NAME = /^(?!amq\.)[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
const named = (which: keyof Names) =>
  z
    .string()
    .regex(NAME, "a name at the broker has 1 to 100 characters: a letter or digit, then letters, digits and . _ -; and not amq.")
    .default(NAMES[which]);

const BrokerNames = z
  .strictObject({
    commands: named("commands"),
    facts: named("facts"),
    events: named("events"),
    history: named("history"),
    control: named("control"),
    unrouted: named("unrouted"),
    quarantine: named("quarantine"),
    follow: named("follow"),
  })
  .check(({ value, issues }) => {
    for (const [which, name] of Object.entries(value)) {
      const other = Object.entries(value).find(([it, given]) => it !== which && given === name)?.[0];
      const message = `"${name}" is the name of ${other} as well; give each a name of its own`;
      if (other !== undefined) issues.push({ code: "custom", message, input: name, path: [which] });
    }
  });

/** The URL, the user and password if the URL does not contain them (each may be in a file), and the names at the broker. */
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
