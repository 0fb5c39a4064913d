/** Publishes facts. Resolves when the broker has the fact, however long that takes, or when the signal aborts. */
import { writeFact } from "@longshore/contract/messages/envelope.ts";
import type { FactData, FactType } from "@longshore/contract/messages/fact.ts";
import { Failure, isTransient } from "@longshore/contract/problems/problem.ts";
import type { Parts } from "./parts.ts";

export type PublishFact = <T extends FactType>(type: T, data: FactData<T>, signal: AbortSignal) => Promise<"told" | "stopped">;

export function factPublisher(parts: Omit<Parts, "clusters">): PublishFact {
  const { broker, installation, owner, log, pause, fail } = parts;
  let count = 0;
  return async (type, data, signal) => {
    // A fact is repeated until its Job's hold is off. Each repeat has another id, so that no broker drops it as a duplicate.
    const id = `${owner}/${++count}`;
    const group = "about" in data ? data.about.group : data.group;
    // The data is parsed, as `writeFact` wants it, but the compiler cannot see that through the schemas' brands.
    const body = writeFact({ id, source: `/longshore/${installation}/watcher`, type, data } as Parameters<typeof writeFact>[0]);
    for (let failures = 0; !signal.aborted; await pause(++failures, signal)) {
      try {
        await fail("beforeFact");
        const published = await broker.publish("facts", { id, key: `${group.replaceAll("/", "_")}.${type}`, body }, signal);
        // Not every fact is repeated: a start that no queue took would be lost.
        if (published === "unrouted") throw new Failure("retry", "Unrouted", "the broker has no queue for facts");
        await fail("afterFact");
        return "told";
      } catch (error) {
        if (signal.aborted) break;
        if (!isTransient(error)) throw error;
        log.warn("a fact could not be published yet", { fact: type, group, failures, error: error.message });
      }
    }
    return "stopped";
  };
}
