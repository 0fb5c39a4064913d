/**
 * Packs values into short strings and back, so that a watcher's memory is smaller than the objects of its cluster: a shape is
 * kept once for all values that have it, and a recurring word is kept once. A Job and its pod take 2.5 kB as objects, of which
 * 400 bytes are their own.
 */
interface Packing {
  pack(value: object): string;
  unpack(text: string): unknown;
  /** True if the first text in the packed value is this one. Also false if only unpacking could tell. */
  begins(text: string, value: string): boolean;
}

interface PackingOptions {
  readonly recurring: ReadonlySet<string>;
  readonly shapesMost?: number;
  readonly wordsMost?: number;
}

const END = "\u0001";
/** Longer words seldom recur, and the dictionary never forgets a word. */
const WORD_CHARS_MOST = 512;

export function openPacking({ recurring, shapesMost = 1_000, wordsMost = 10_000 }: PackingOptions): Packing {
  const shapes: Shape[] = [];
  const shapeNumbers = new Map<string, number>();
  const words: string[] = [];
  const wordNumbers = new Map<string, number>();

  function pack(value: object): string {
    const { outline, leaves } = flattened(value, leafOf);
    let shape = shapeNumbers.get(outline);
    if (shape === undefined && shapes.length < shapesMost) {
      shape = shapes.push(shapeOf(value)) - 1;
      shapeNumbers.set(outline, shape);
    }
    if (shape === undefined || leaves.some((it) => it.includes(END))) return `j${JSON.stringify(value)}`;
    // Joined at once: a string that is built piece by piece keeps its pieces in memory.
    leaves.unshift(String(shape));
    return leaves.join(END);
  }

  function leafOf(value: unknown, field: string, before: Map<string, number>, at: number): string {
    if (typeof value === "number") return `n${value}`;
    if (typeof value !== "string") return value === undefined ? "u" : value === null ? "0" : value === true ? "t" : "f";
    const word = recurring.has(field) ? wordOf(value) : undefined;
    if (word !== undefined) return `w${word}`;
    const earlier = before.get(value);
    if (earlier !== undefined) return `b${earlier}`;
    if (value.length > 4) before.set(value, at);
    return `s${value}`;
  }

  function wordOf(value: string): number | undefined {
    const known = wordNumbers.get(value);
    if (known !== undefined || words.length >= wordsMost || value.length > WORD_CHARS_MOST) return known;
    wordNumbers.set(value, words.length);
    return words.push(value) - 1;
  }

  function unpack(text: string): unknown {
    if (text.startsWith("j")) return JSON.parse(text.slice(1));
    const [number = "", ...leaves] = text.split(END);
    const found: unknown[] = [];
    for (const leaf of leaves) found.push(valueOf(leaf.charAt(0), leaf.slice(1), found));
    return filled(shapes[Number(number)], { leaves: found, at: 0 });
  }

  function valueOf(kind: string, rest: string, found: readonly unknown[]): unknown {
    if (kind === "s") return rest;
    if (kind === "w") return words[Number(rest)];
    if (kind === "b") return found[Number(rest)];
    if (kind === "n") return Number(rest);
    return kind === "u" ? undefined : kind === "0" ? null : kind === "t";
  }

  return { pack, unpack, begins: (text, value) => text.startsWith(`s${value}${END}`, text.indexOf(END) + 1) };
}

/** A value without its leaves: the nesting and the names of its fields. */
type Shape =
  | { readonly names: readonly string[]; readonly parts: readonly Shape[] }
  | { readonly items: readonly Shape[] }
  | undefined;

function shapeOf(value: unknown): Shape {
  if (Array.isArray(value)) return { items: value.map(shapeOf) };
  if (typeof value !== "object" || value === null) return undefined;
  return { names: Object.keys(value), parts: Object.values(value).map(shapeOf) };
}

function filled(shape: Shape, from: { readonly leaves: readonly unknown[]; at: number }): unknown {
  if (shape === undefined) return from.leaves[from.at++];
  if ("items" in shape) return shape.items.map((it) => filled(it, from));
  const made: Record<string, unknown> = {};
  let at = 0;
  for (const name of shape.names) made[name] = filled(shape.parts[at++], from);
  return made;
}

type LeafOf = (value: unknown, field: string, before: Map<string, number>, at: number) => string;

/** Two values have the same outline exactly if they have the same shape. */
function flattened(value: object, leafOf: LeafOf): { readonly outline: string; readonly leaves: string[] } {
  const leaves: string[] = [];
  const before = new Map<string, number>();
  let outline = "";
  const walk = (value: unknown, field: string): void => {
    if (typeof value !== "object" || value === null) {
      outline += END;
      leaves.push(leafOf(value, field, before, leaves.length));
    } else if (Array.isArray(value)) {
      outline += "[";
      for (const it of value) walk(it, field);
      outline += "]";
    } else {
      outline += "{";
      for (const [name, it] of Object.entries(value)) {
        outline += `${name.length}${name}`;
        walk(it, name);
      }
      outline += "}";
    }
  };
  walk(value, "");
  return { outline, leaves };
}
