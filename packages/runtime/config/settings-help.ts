/**
 * The settings of a program as text, for its `--help`: type, default and variable of each, from the schema that reads them.
 *
 * The failure this prevents: a list beside the schema that goes out of date, and a person who guesses what a setting is called.
 */
import type { z } from "zod";
import { environmentName, type Leaf, leaves } from "./shape.ts";

export const settingsHelp = (schema: z.ZodType): string => leaves(schema).map(entry).join("");

const entry = (leaf: Leaf): string =>
  `  ${leaf.path.join(".")}  ${environmentName(leaf.path)}\n      ${leaf.type}; ${[usualText(leaf), leaf.or ?? []].flat().join(", or ")}\n`;

function usualText({ usual, isNeeded, type }: Leaf): string {
  if (isNeeded) return "required";
  const text = written(usual, type.includes("duration"));
  return text === "" ? "default none" : `default ${text}`;
}

/** Writes the value as a variable would hold it. */
function written(value: unknown, isDuration: boolean): string {
  if (value === undefined) return "";
  if (Array.isArray(value)) return value.join(",");
  if (typeof value === "object" && value !== null)
    return Object.entries(value)
      .map(([name, it]) => `${name}=${written(it, isDuration)}`)
      .join(",");
  if (typeof value === "number") return isDuration ? durationText(value) : `${value}`;
  return typeof value === "string" ? value : JSON.stringify(value);
}

const UNITS = [["h", 3_600_000], ["m", 60_000], ["s", 1000], ["ms", 1]] as const; // biome-ignore format: a table

function durationText(ms: number): string {
  const [unit, size] = UNITS.find(([, size]) => ms >= size && ms % size === 0) ?? ["s", 1];
  return `${ms / size}${unit}`;
}
