/**
 * Events that the controllers leave on objects. Some refusals are reported in no other place.
 *
 * Their number is bounded: a Job that cannot make its pods leaves one Event for each try, each with another pod's name.
 */
import { type ApiObject, isDeleting, timestamp } from "../objects.ts";
import { createUid, type Writer } from "../server/write.ts";

const EVENTS_MOST = 1_000;

export function recordEvent({ store, clock }: Writer, on: ApiObject, reason: string, message: string): void {
  const { name, namespace = "", uid, resourceVersion } = on.metadata;
  const space = store.get("namespaces", "", namespace);
  if (space === undefined || isDeleting(space)) return;
  const id = createUid({ store, clock });
  const at = timestamp(clock.now());
  const event = {
    apiVersion: "v1",
    kind: "Event",
    metadata: {
      name: `${name}.${id.slice(0, 8)}${id.slice(-8)}`,
      namespace,
      uid: id,
      resourceVersion: "",
      creationTimestamp: at,
    },
    involvedObject: { apiVersion: on.apiVersion, kind: on.kind, name, namespace, uid, resourceVersion },
    type: "Warning",
    reason,
    message,
    count: 1,
    firstTimestamp: at,
    lastTimestamp: at,
    source: { component: "job-controller" },
    reportingComponent: "job-controller",
  };
  if (store.count("events", namespace) >= EVENTS_MOST) {
    const versionOf = (it: ApiObject): number => Number(it.metadata.resourceVersion);
    store.remove(
      "events",
      store.list("events", namespace).reduce((a, b) => (versionOf(a) < versionOf(b) ? a : b)),
    );
  }
  store.insert("events", event);
}
