/** Who is signed in, for pages that show more to some. */
import { signal } from "@preact/signals";
import type { Me } from "../answers.ts";

export const who = signal<Me>();
