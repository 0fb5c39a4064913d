/** A sentence of ours with commands in it, as they stand between backticks in a terminal. */
import type { JSX } from "preact";

export const Told = ({ children }: { readonly children: string }): JSX.Element => (
  <>{children.split("`").map((part, at) => (at % 2 === 1 ? <code key={part}>{part}</code> : part))}</>
);
