/**
 * The end of a container's log, as evidence of how the container ended: at most 64 KiB, in bounded time.
 *
 * The bug this prevents: the fact of a finished Job waits for, or is lost because of, a log of a gigabyte, a kubelet that does
 * not answer or a pod that is gone. Then the log is "unavailable" and the fact goes out.
 */
import { type Sending, sendInTime } from "./purpose.ts";
import { told } from "./read.ts";

/**
 * "complete": `tail` is the whole log. "truncated": `tail` is its end; `lines` counts the lines that were read to find that
 * end.
 */
export type LogTail = { readonly state: "complete" | "truncated" | "unavailable"; readonly lines: number; readonly tail: string };

export interface LogOptions extends Sending {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly tailMaxBytes?: number;
  readonly readMaxBytes?: number;
}

const TAIL_LINES = 1_000;

export async function tailLog(options: LogOptions, signal: AbortSignal): Promise<LogTail> {
  const { tailMaxBytes = 64 * 1024, readMaxBytes = 1024 * 1024 } = options;
  const whole = await read(options, { limitBytes: String(readMaxBytes) }, signal);
  if (whole === undefined) return { state: "unavailable", lines: 0, tail: "" };
  const bytes = Buffer.from(whole, "utf8");
  if (bytes.length < readMaxBytes) return cut(bytes, tailMaxBytes, false);
  // `limitBytes` keeps the beginning. We want the end of a long log, so we ask for a number of lines.
  const end = await read(options, { tailLines: String(TAIL_LINES), limitBytes: String(readMaxBytes) }, signal);
  return cut(end === undefined ? bytes : Buffer.from(end, "utf8"), tailMaxBytes, true);
}

async function read(
  { transport, clock, namespace, pod, container }: LogOptions,
  more: Record<string, string>,
  signal: AbortSignal,
): Promise<string | undefined> {
  const query = new URLSearchParams({ container, ...more });
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/log?${query.toString()}`;
  const result = await told(() =>
    sendInTime({ transport, clock }, { purpose: "log", method: "GET", path, accept: "*/*" }, signal),
  );
  return result.kind === "told" && result.answer.status === 200 && typeof result.answer.body === "string"
    ? result.answer.body
    : undefined;
}

function cut(bytes: Buffer, most: number, alreadyCut: boolean): LogTail {
  const lines = countLines(bytes);
  let from = Math.max(0, bytes.length - most);
  // The cut must not fall into the middle of a character: UTF-8's following bytes begin with 10.
  while (from > 0 && from < bytes.length && ((bytes[from] ?? 0) & 0xc0) === 0x80) from++;
  // Postgres cannot store NUL in text; the symbol for NUL shows where one was.
  const tail = bytes.subarray(from).toString("utf8").replaceAll("\u0000", "\u2400");
  return { state: from > 0 || alreadyCut ? "truncated" : "complete", lines, tail };
}

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) lines++;
  return bytes.length > 0 && bytes[bytes.length - 1] !== 10 ? lines + 1 : lines;
}
