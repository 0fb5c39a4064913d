/**
 * The page's side of the console's HTTP: questions, deeds, and the stream of changes.
 *
 * The failure this prevents: six tabs that freeze each other, since a browser opens only six connections to a server. A stream is
 * closed while its tab is hidden, and opened again when it is seen.
 */
import { signal } from "@preact/signals";
import type { Problem as Answered } from "../answers.ts";

export type Problem = Omit<Answered, "type">;

/** Set as soon as an answer says that nobody is signed in here any more. */
export const signedOut = signal<Problem | undefined>(undefined);

export class Refusal extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

const AWAY: Problem = { status: 0, title: "Not reached", detail: "The console cannot be reached. It is tried again by itself." };

async function call<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await answerOf(path, init);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** Throws what is no success. */
async function answerOf(path: string, init?: RequestInit): Promise<Response> {
  const response = await fetch(path, init).catch(() => undefined);
  if (response === undefined) throw new Refusal(AWAY);
  if (response.ok) return response;
  const body: unknown = await response.json().catch(() => undefined);
  const told = typeof body === "object" && body !== null ? (body as Partial<Problem>) : {};
  const problem: Problem = {
    title: response.statusText,
    detail: "The console failed. Its log says why.",
    ...told,
    status: response.status,
  };
  if (problem.status === 401) signedOut.value = problem;
  throw new Refusal(problem);
}

const url = (path: string, query: Readonly<Record<string, string>>): string =>
  Object.keys(query).length === 0 ? path : `${path}?${new URLSearchParams(query).toString()}`;

export const ask = <T>(path: string, query: Readonly<Record<string, string>> = {}): Promise<T> => call<T>(url(path, query));

export const post = <T>(path: string, body: object): Promise<T> => call<T>(path, sent(body));

const sent = (body: object): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

/** Calls back with each line of the answer, as it comes. */
export async function postLines<T>(path: string, body: object, line: (value: T) => void): Promise<void> {
  const { body: stream } = await answerOf(path, sent(body));
  if (stream === null) return;
  let text = "";
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const lines = (text + read.value).split("\n");
    text = lines.pop() ?? "";
    for (const it of lines) line(JSON.parse(it) as T);
  }
}

/** A console that starts anew, or has too many streams, refuses one for a moment. */
const AGAIN_MS = 5_000;

/** Calls back with each piece of news, by its type, until the function that it returns is called. */
export function stream(
  path: string,
  query: Readonly<Record<string, string>>,
  news: Readonly<Record<string, (data: string) => void>>,
  heard: (isLive: boolean) => void = () => undefined,
): () => void {
  let source: EventSource | undefined;
  let again: ReturnType<typeof setTimeout> | undefined;
  const open = (): void => {
    if (document.hidden || source !== undefined) return;
    source = new EventSource(url(path, query));
    source.addEventListener("open", () => heard(true));
    source.addEventListener("error", () => {
      heard(false);
      // A browser gives a stream up that is refused, and does not say why: whoever is signed out hears it so.
      if (source?.readyState !== EventSource.CLOSED) return;
      close();
      void ask("/v1/me").catch(() => undefined);
      again = setTimeout(open, AGAIN_MS);
    });
    for (const [type, take] of Object.entries(news))
      source.addEventListener(type, (event) => take((event as MessageEvent<string>).data));
  };
  const close = (): void => {
    clearTimeout(again);
    source?.close();
    source = undefined;
  };
  const seen = (): void => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", seen);
  open();
  return () => {
    document.removeEventListener("visibilitychange", seen);
    close();
  };
}
