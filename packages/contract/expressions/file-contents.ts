/**
 * The contents of a step's files, and where each of them fits: in annotations of the pod, or in an object of its own.
 *
 * The failure this prevents: a file that becomes too large with its values, of which the cluster says only that some object of
 * that run is.
 */
import { FILE_BYTES_MAX, type RenderedFile, type RequestedFile } from "../request/files.ts";
import { dependsOnOutputs, type Path, render, utf8Length } from "./template.ts";

interface Looking {
  readonly lookUp: (path: Path) => unknown;
  readonly problem: (at: string, message: string) => void;
}

interface Content {
  readonly path: string;
  readonly at: string;
  readonly content: string;
  readonly bytes: number;
  /** Known before any step has run. */
  readonly isKnown: boolean;
}

/**
 * The known files, from the smallest on, stand in annotations as long as these have room. A file whose value comes from outputs
 * cannot be large: the object of a large one has an owner, which is booked before any step has run. `at`: where `files` stands.
 */
export function renderedFiles(files: readonly RequestedFile[], at: string, looking: Looking): readonly RenderedFile[] {
  const contents = files.flatMap((file, which) => contentOf(file, `${at}/${which}`, looking) ?? []);
  const late = contents.filter(({ isKnown }) => !isKnown);
  const lateBytes = bytesIn(late);
  if (lateBytes > FILE_BYTES_MAX.ofStep)
    looking.problem(
      largest(late)?.at ?? at,
      `The files of a step whose values come from outputs have ${lateBytes} bytes; at most ${FILE_BYTES_MAX.ofStep} fit on its pod.`,
    );
  const small = new Set<Content>();
  let room: number = FILE_BYTES_MAX.ofStep;
  for (const it of contents.filter(({ isKnown }) => isKnown).toSorted((a, b) => a.bytes - b.bytes)) {
    room -= it.bytes;
    if (room >= 0) small.add(it);
  }
  return contents.map((it) => ({ path: it.path, content: it.content, isLarge: it.isKnown && !small.has(it) }));
}

/** Text of a file counts here, not among the values of a step's other fields. */
function contentOf(file: RequestedFile, at: string, looking: Looking): Content | undefined {
  const { path } = file;
  const given = "text" in file ? file.text : file.json;
  const place = `${at}/${"text" in file ? "text" : "json"}`;
  const made = (content: string): Content => ({
    path, at, content, bytes: utf8Length(content), isKnown: !dependsOnOutputs(given),
  }); // biome-ignore format: a value read as one
  let isWrong = false;
  const problem = (where: string, message: string): void => {
    isWrong = true;
    looking.problem(where, message);
  };
  const value = render(given, place, { dollars: "kept" }, { ...looking, problem, room: { bytes: FILE_BYTES_MAX.ofRun } });
  if (isWrong) return undefined;
  if ("json" in file) return made(JSON.stringify(value));
  if (value === null) return made("");
  if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") {
    problem(place, "A text is made of texts, numbers, true and false: for a list or an object, write `json` in place of `text`.");
    return undefined;
  }
  return made(String(value));
}

const bytesIn = (contents: readonly Content[]): number => contents.reduce((sum, { bytes }) => sum + bytes, 0);
const largest = (contents: readonly Content[]): Content | undefined => contents.toSorted((a, b) => b.bytes - a.bytes)[0];

/** The bytes that a step's files take of its pod's annotations. */
export const annotatedBytes = (files: readonly RenderedFile[] = []): number =>
  files.reduce((sum, { content, isLarge }) => (isLarge ? sum : sum + utf8Length(content)), 0);

/** The large files of a run, each content once. */
export function largeFiles(steps: readonly { readonly files?: readonly RenderedFile[] | undefined }[]): readonly string[] {
  return [...new Set(steps.flatMap(({ files = [] }) => files.flatMap((it) => (it.isLarge ? [it.content] : []))))];
}
