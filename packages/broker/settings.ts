/** Where a program's broker is, by its settings. Every program reads them here, so that none forgets the user's file. */
import { secretOf } from "@longshore/runtime/config/secret-settings.ts";
import type { Secret } from "@longshore/runtime/config/secret.ts";
import type { OpenBroker } from "./open.ts";

type Given = { readonly [K in "url" | "user" | "password" as K | `${K}File`]?: Secret | undefined };

/** For `openBroker({ ...brokerOf(config), log, clock })`. */
export function brokerOf({ broker }: { readonly broker: Given }): Pick<OpenBroker, "url" | "user" | "password"> {
  return {
    url: secretOf(broker, "url")?.reveal() ?? "",
    user: secretOf(broker, "user")?.reveal(),
    password: secretOf(broker, "password")?.reveal(),
  };
}
