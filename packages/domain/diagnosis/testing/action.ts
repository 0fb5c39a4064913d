/**
 * Whether a hint tells its reader what to do, or where to look.
 *
 * The failure this prevents: a hint that says the sentence beside it once more, in other words.
 */

/** What our hints ask of their readers, as the first word of a clause. */
const ORDER =
  /(?:^|[.;:,] (?:or |and |then )?)(?:apply|ask|build|cancel|change|check|correct|create|give|look|lower|make|point|publish|put|raise|read|recreate|remove|renew|restart|run|send|set|start|state|use|wait|write)\b/i;
const COMMAND = /`(?:kubectl|longshore) [^`]+`/;

export const saysWhatToDo = (hint: string): boolean => ORDER.test(hint) || COMMAND.test(hint);
