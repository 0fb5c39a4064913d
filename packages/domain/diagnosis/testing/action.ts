/**
 * Tells whether a hint says what to do, or where to look.
 *
 * The failure this prevents: a hint that repeats the sentence beside it in other words.
 */

/** The verbs of our hints, as the first word of a clause. */
const ORDER =
  /(?:^|[.;:,] (?:or |and |then )?)(?:apply|ask|build|cancel|change|check|correct|create|give|look|lower|make|point|publish|put|raise|read|recreate|remove|renew|restart|run|send|set|start|state|use|wait|write)\b/i;
const COMMAND = /`(?:kubectl|longshore) [^`]+`/;

export const saysWhatToDo = (hint: string): boolean => ORDER.test(hint) || COMMAND.test(hint);
