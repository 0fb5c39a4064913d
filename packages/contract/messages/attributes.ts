/** The attributes of a CloudEvents envelope, and the marks that travel beside it. */
import { z } from "zod";

const visible = /^[\x21-\x7e]+$/;

export const word = (what: string, most: number) =>
  z
    .string()
    .min(1, { error: `A message's ${what} is not empty.`, abort: true })
    .max(most)
    .regex(visible, `A message's ${what} is plain ASCII without spaces.`);

/** The fields that are needed to answer a sender. */
export const Identity = z.looseObject({ id: word("id", 200), source: word("source", 300), type: word("type", 200) });

/** W3C Trace Context: version, trace id, parent id, flags. A later version is accepted if it has just these four fields. */
export const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The attributes of an envelope that are read. Others are CloudEvents extensions and are ignored. */
export const Envelope = Identity.extend({
  specversion: z
    .string({ error: ({ input }) => (input === undefined ? '"specversion" is needed: "1.0".' : undefined) })
    .refine((version) => version === "1.0", {
      error: 'Only CloudEvents 1.0 is read: "specversion": "1.0".',
      params: { code: "UnknownVersion" },
    })
    .meta({ const: "1.0" }),
  subject: z.string().max(300).nullish(),
  time: z.iso.datetime({ offset: true }).nullish(),
  datacontenttype: z
    .string()
    .regex(/^application\/([A-Za-z0-9!#$&^_.+-]+\+)?json\s*(;|$)/, "Only JSON data is read: leave this out, or application/json.")
    .nullish(),
  /** A command with an invalid trace is accepted, without the trace. */
  traceparent: z
    .unknown()
    .optional()
    .meta({
      description: "W3C Trace Context of a run.requested: carried by the run's events, and into its pods as TRACEPARENT.",
      examples: ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    }),
  data_base64: z.never("Data in base64 is not read; put the JSON object into data.").optional(),
});

/** An id that a broker cannot carry is left out: it must not stop the event or the answer that it stands in. */
const CORRELATION_ID = /^[\x20-\x7e]{1,255}$/;
export const correlationIdOf = (given: string | undefined): string | undefined =>
  given !== undefined && CORRELATION_ID.test(given) ? given : undefined;
