/**
 * A form as the browser's history keeps it: the id of its run, and what was typed. While a person has to sign in again, the tab
 * keeps it as well, since the way to an issuer and back makes a new entry of the history.
 *
 * The failures this prevents: a reload, or Back after Run, that brings a form with another run's id, so that Run once more is a
 * second run of the same; and a form that somebody fills in twice because their session ended meanwhile.
 */
export interface KeptForm {
  readonly run: string;
  readonly texts: Readonly<Record<string, string>>;
}

const isForm = (it: unknown): it is KeptForm => typeof it === "object" && it !== null && "run" in it && "texts" in it;

/** Returns the form that was kept with this entry of the history. */
export function keptForm(): KeptForm | undefined {
  const kept: unknown = history.state;
  return isForm(kept) ? kept : undefined;
}

export const keepForm = (form: KeptForm): void => history.replaceState(form, "");

let typed: KeptForm | undefined;

/** What stands in the form now: browsers bound how often the history may be told. Returns the function that forgets it. */
export function noteTyped(form: KeptForm): () => void {
  typed = form;
  return () => void (typed = undefined);
}

const AWAY = "longshore-away";

interface Away {
  /** Nobody else who signs in at this screen sees what this person typed. */
  readonly who: string;
  readonly href: string;
  readonly form: KeptForm | undefined;
}

export function keepWhileAway(who: string): void {
  if (typed !== undefined) keepForm(typed);
  const away: Away = { who, href: location.href, form: keptForm() };
  sessionStorage.setItem(AWAY, JSON.stringify(away));
}

/** Returns where this person was when their session ended, once. */
export function cameBack(who: string): Away | undefined {
  const text = sessionStorage.getItem(AWAY);
  sessionStorage.removeItem(AWAY);
  const away = text === null ? undefined : (JSON.parse(text) as Away);
  return away?.who === who ? away : undefined;
}
