/**
 * The log: one line for each happening, on standard error. JSON for machines; text on a terminal, for people.
 *
 * The bugs this prevents: credentials and specs in logs (every field passes `redact`), and last words lost because a buffer was
 * not written when the process ended (writes are synchronous).
 */
import { pino } from "pino";
import { z } from "zod";
import { withoutCredentials } from "./config/secret.ts";

export const LogSettings = z.strictObject({
  level: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  format: z.enum(["auto", "text", "json"]).default("auto"),
});
export type LogSettings = z.infer<typeof LogSettings>;

export type Fields = Readonly<Record<string, unknown>>;

/** The message is a fixed sentence; values go into the fields, so that one can count and search. */
export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** The same log with fields that every line carries. */
  child(fields: Fields): Log;
}

interface LogSink {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export function openLog(name: string, settings: LogSettings, sink?: LogSink): Log {
  const text = isText(settings, sink);
  const plain: { write(line: string): unknown } = sink ?? pino.destination({ fd: 2, sync: true });
  const destination = text ? { write: (line: string) => plain.write(readable(line)) } : plain;
  const options: pino.LoggerOptions = {
    name,
    level: settings.level,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  };
  return over(pino(options, { write: (line: string) => void destination.write(line) }));
}

/** True if the log's lines are for people. */
export const isText = ({ format }: LogSettings, sink: Pick<LogSink, "isTTY"> = process.stderr): boolean =>
  format === "text" || (format === "auto" && sink.isTTY === true);

/** For tests, and for parts that may be opened without a log. */
export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => silentLog };

function over(logger: pino.Logger): Log {
  const say =
    (level: "debug" | "info" | "warn" | "error") =>
    (message: string, fields: Fields = {}) => {
      if (logger.isLevelEnabled(level)) logger[level](redactFields(fields), withoutCredentials(message));
    };
  return {
    debug: say("debug"),
    info: say("info"),
    warn: say("warn"),
    error: say("error"),
    child: (fields) => over(logger.child(redactFields(fields))),
  };
}

const HIDDEN =
  /^(authorization|cookie|env|environment|spec|body|.*(password|passwd|secret|token|credential|privatekey|apikey))$/i;
const DEPTH_MAX = 5;
const ITEMS_MAX = 50;

/** Limits a field in depth and width, and removes secrets, by their name or their form. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === "string") return withoutCredentials(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if ("toJSON" in value && typeof value.toJSON === "function") return redact(value.toJSON(), depth + 1);
  if (value instanceof Uint8Array) return `${value.byteLength} bytes`;
  if (depth >= DEPTH_MAX) return "…";
  if (Array.isArray(value)) return value.slice(0, ITEMS_MAX).map((it: unknown) => redact(it, depth + 1));
  if (value instanceof Error) return ofError(value, depth);
  return redactFields(value, depth);
}

function redactFields(fields: object, depth = 0): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields).slice(0, ITEMS_MAX)) {
    const hidden = HIDDEN.test(name) && value !== undefined && value !== null;
    kept[name] = hidden ? "[redacted]" : redact(value, depth + 1);
  }
  return kept;
}

function ofError(error: Error, depth: number): Record<string, unknown> {
  return {
    name: error.name,
    message: withoutCredentials(error.message),
    ...("code" in error ? { code: redact(error.code, depth + 1) } : {}),
    stack: withoutCredentials((error.stack ?? "").split("\n").slice(1, 12).join("\n")),
    ...(error.cause === undefined ? {} : { cause: redact(error.cause, depth + 1) }),
  };
}

/** One JSON line as a person reads it: "12:04:05.123Z warn  launcher  the broker is away  host=…". */
function readable(line: string): string {
  const { level, time, name, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  delete fields["pid"];
  delete fields["hostname"];
  const rest = Object.entries(fields).map(([field, value]) => `${field}=${brief(value)}`);
  return `${String(time).slice(11, 24)} ${String(level).padEnd(5)} ${String(name)}  ${[String(msg), ...rest].join("  ")}\n`;
}

function brief(value: unknown): string {
  if (typeof value === "object" && value !== null && "message" in value && "stack" in value) {
    const cause = "cause" in value && value.cause !== undefined ? ` because ${brief(value.cause)}` : "";
    return `"${String(value.message)}"${cause}`;
  }
  if (typeof value === "string" && /^[\w./:-]+$/.test(value)) return value;
  return JSON.stringify(value).replaceAll(/[\u007f-\u009f]/g, "·"); // JSON escapes the other characters that a terminal obeys
}
