/**
 * One request to one API server, and one answer. Everything in this package talks through it.
 *
 * Over HTTP it is request/exchange.ts; in the simulation it is the pocket's model. Both pass testing/conformance.ts.
 */
export interface ApiRequest {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** With the query: "/apis/batch/v1/namespaces/batch/jobs?limit=500". */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** For PATCH: "application/strategic-merge-patch+json" … */
  readonly contentType?: string;
  /** Absent: "application/json". */
  readonly accept?: string;
}

export interface ApiAnswer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** How many bytes the body had on the wire. Absent: it came over none. */
  readonly bytes?: number;
  /** Parsed JSON (an object, or a Kubernetes `Status`), or the text if it is no JSON (logs). */
  readonly body: unknown;
}

/** A watch, or a followed log: its status, then lines as they come. Ends when the server ends it; throws when it breaks. */
export interface ApiStream {
  readonly status: number;
  /** Lower-case names. A refusal under load says only here how long to wait. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown; // for a status other than 200
  readonly lines: AsyncIterable<string>;
}

export interface Transport extends AsyncDisposable {
  /** Throws `Failure` "retry" if no whole answer came: `code` "unsent" if nothing can have arrived, else "unanswered". */
  send(request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer>;
  open(request: ApiRequest, signal: AbortSignal): Promise<ApiStream>;
}
