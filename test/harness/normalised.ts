/**
 * Objects of a cluster without the parts that differ each time they are made: times, UIDs, versions, generated names, ports.
 *
 * The failure this prevents: fixtures that all change whenever one is recorded, so that nobody reads the change that matters.
 */
type Json = Readonly<Record<string, unknown>>;

const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;
const UID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const PORT = /\b(127\.0\.0\.1|\[::1\]|localhost):\d{4,5}\b/g;
const CONTAINER = /\bcontainerd:\/\/[0-9a-f]{64}\b/g;
const BEGINNING_MS = Date.UTC(2026, 0, 1);

export function normalised<T>(shown: T, renamed: Readonly<Record<string, string>> = {}): T {
  let text = JSON.stringify(stripped(shown));
  for (const [from, to] of Object.entries(renamed)) text = text.replaceAll(from, to);
  for (const name of jobNames(shown)) text = text.replaceAll(new RegExp(`\\b${name}-[a-z0-9]{5}\\b`, "g"), `${name}-x7k2p`);
  text = numbered(text, UID, (n) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`, "as they come");
  text = numbered(text, TIME, (n) => `${new Date(BEGINNING_MS + n * 1000).toISOString().slice(0, 19)}Z`, "sorted");
  text = text.replaceAll(CONTAINER, `containerd://${"0123456789abcdef".repeat(4)}`);
  text = text.replaceAll(PORT, "$1:6443");
  return JSON.parse(text) as T;
}

/** Replaces each match by a name with a number. Equal matches get the same number; "sorted" numbers keep the order of times. */
function numbered(text: string, pattern: RegExp, name: (n: number) => string, order: "sorted" | "as they come"): string {
  const found = [...new Set(text.match(pattern) ?? [])];
  const names = new Map((order === "sorted" ? found.toSorted() : found).map((it, at) => [it, name(at + 1)]));
  return text.replaceAll(pattern, (it) => names.get(it) ?? it);
}

/** A pod's name is its Job's name and five letters, also in Events about pods that were never made. */
function jobNames(shown: unknown): readonly string[] {
  const job = (shown as { readonly job?: { readonly metadata?: { readonly name?: string } } }).job;
  return job?.metadata?.name === undefined ? [] : [job.metadata.name];
}

const DROPPED = new Set(["managedFields", "selfLink", "podIP", "podIPs", "hostIP", "hostIPs", "reportingInstance"]);

function stripped(value: unknown, key = ""): unknown {
  if (key === "resourceVersion") return "1";
  if (Array.isArray(value)) return value.map((it) => stripped(it));
  if (typeof value !== "object" || value === null) return value;
  const of = value as Json;
  const fields = Object.entries(of).filter(([name]) => !DROPPED.has(name));
  const plain = Object.fromEntries(fields.map(([name, it]) => [name, stripped(it, name)]));
  return of["kind"] === "Event" ? eventOf(plain) : plain;
}

/** An Event's own name ends in the time at which the Event was made. */
function eventOf(event: Json): Json {
  const metadata = event["metadata"] as Json;
  return { ...event, metadata: { ...metadata, name: String(metadata["name"]).replace(/\.[0-9a-f]{16}$/, ".0123456789abcdef") } };
}
