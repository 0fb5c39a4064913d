/**
 * A form as the browser's history keeps it: the id of its run, and what was typed.
 *
 * The failure this prevents: a reload, or Back after Run, that brings a form with another run's id, so that Run once more is a
 * second run of the same.
 */
export interface KeptForm {
  readonly run: string;
  readonly texts: Readonly<Record<string, string>>;
}

/** Returns the form that was kept with this entry of the history. */
export function keptForm(): KeptForm | undefined {
  const kept: unknown = history.state;
  return typeof kept === "object" && kept !== null && "run" in kept ? (kept as KeptForm) : undefined;
}

export const keepForm = (form: KeptForm): void => history.replaceState(form, "");
