/**
 * Bugs that somebody could well have written, as changes to the production code. The simulation must catch each of them.
 *
 * The bug this prevents: a simulation whose models are so kind that it passes anything.
 */
import type { PlantedBug } from "./bug.ts";
import { SLICES, VALUES } from "./content-bugs.ts";
import { GROUPS } from "./group-bugs.ts";
import { LIFECYCLE } from "./lifecycle-bugs.ts";
import { LOOPS } from "./loop-bugs.ts";
import { TURNS } from "./turn-bugs.ts";
import { VOLUMES } from "./volume-bugs.ts";

export const PLANTED: readonly PlantedBug[] = [...LIFECYCLE, ...LOOPS, ...TURNS, ...GROUPS, ...VOLUMES, ...VALUES, ...SLICES];
