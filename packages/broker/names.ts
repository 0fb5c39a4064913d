/** The names of Longshore's queues and exchanges at the broker, unless the configuration says otherwise. */
export interface Names {
  readonly commands: string;
  readonly facts: string;
  readonly events: string;
  readonly history: string;
  readonly control: string;
  readonly unrouted: string;
  readonly quarantine: string;
  /** The prefix of followers' temporary queues. */
  readonly follow: string;
}

export const NAMES: Names = {
  commands: "longshore.commands",
  facts: "longshore.facts",
  events: "longshore.events",
  history: "longshore.history",
  control: "longshore.control",
  unrouted: "longshore.unrouted",
  quarantine: "longshore.quarantine",
  follow: "longshore.follow.",
};

/** A reply must never land in a queue of ours: else anybody could put forged messages among the facts. */
export function isOurs(queue: string, names: Names): boolean {
  return queue === "" || queue.startsWith(names.follow) || Object.values(names).includes(queue);
}
