/** Answers that are no success: problem+json (RFC 9457), each with a sentence for the person who reads it. */
import type { FieldProblem, Problem } from "./answers.ts";

export class Refused extends Error {
  readonly status: 400 | 401 | 403 | 404 | 409 | 422 | 429 | 503;
  readonly title: string;
  /** The fields that are wrong, with the reason for each. */
  readonly fields: readonly FieldProblem[];
  readonly more: More;

  constructor(status: Refused["status"], title: string, detail: string, fields: readonly FieldProblem[] = [], more: More = {}) {
    super(detail);
    this.status = status;
    this.title = title;
    this.fields = fields;
    this.more = more;
  }
}

interface More {
  /** How the refusal is counted, if others of its status are counted otherwise. */
  readonly reason?: RefusalReason;
  readonly retryAfterSeconds?: number;
  /** Where a browser goes to sign in. */
  readonly signIn?: string;
}

/** Why answers were refused, as it is counted. */
export type RefusalReason =
  | "not understood"
  | "signed out"
  | "token"
  | "assertion"
  | "link"
  | "not open"
  | "foreign name"
  | "foreign page"
  | "not there"
  | "not now"
  | "too much";

const REASONS: Readonly<Record<Refused["status"], RefusalReason>> = {
  400: "not understood",
  401: "signed out",
  403: "not open",
  404: "not there",
  409: "not now",
  422: "not understood",
  429: "too much",
  503: "not now",
};

export const reasonOf = ({ status, more: { reason = REASONS[status] } }: Refused): RefusalReason => reason;

interface Told extends Pick<Refused, "title" | "message" | "fields" | "more"> {
  readonly status: number;
}

export const problemOf = ({ status, title, message, fields, more: { signIn } }: Told): Problem => ({
  type: "about:blank",
  title,
  status,
  detail: message,
  ...(fields.length > 0 && { problems: [...fields] }),
  ...(signIn !== undefined && { signIn }),
});

/** A problem of a command as the form's page shows it. */
export const fieldOf = ({ path, message }: FieldProblem): FieldProblem => ({
  path: path.replace(/^\/data\/parameters/, ""),
  message,
});

export const noSuchJob = (name: string): Refused =>
  new Refused(404, "No such job", `Nothing is prepared under the name ${name}.`);

/** Why is told to operators alone: a job's manifest is for those who wrote it. */
export const UNUSABLE = "This job cannot be run as it stands in its cluster now. Whoever prepared it can mend that.";

/** The same words for both, so that nobody learns of a run that they may not see. */
export const noSuchRun = (id: string): Refused =>
  new Refused(404, "No such run", `No run has the id ${id}, or it is none that you may see.`);

/** Nobody is told who could open it: that would tell a stranger whom to deceive. */
export const NOT_OPEN = "No rule lets you do this. Whoever runs this console can add one: its setting `access`.";

export const noSuchGroup = (name: string): Refused => new Refused(404, "No such group", `No group is named ${name}.`);
