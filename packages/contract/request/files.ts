/**
 * Files of a step: texts and JSON that the request brings with it, as its program finds them.
 *
 * The failure this prevents: an image for each configuration, or a shell line that writes a file out of a variable; and a file
 * that no object of a cluster can hold, which is found out only when the Job is created.
 */
import { z } from "zod";
import { text } from "./container.ts";

/**
 * Most bytes of the files of a step that stand in annotations of its pods, and of all larger files of a run, which are objects of
 * their own. Kubernetes takes 256 KiB of annotations, and 1 MiB in an object.
 */
export const FILE_BYTES_MAX = { ofStep: 32 * 1024, ofRun: 900 * 1024 } as const;
const FILES_MAX = 50;

const FilePath = text(4096).regex(
  /^(\/(?!\.{1,2}(\/|$))[^/:]+)+$/,
  "A file's path is absolute, and holds no colon, no . or .. and no / at its end.",
);

const path = FilePath.describe("Where the program finds it.");

/** The size is judged with its values in place. A `json` that is one expression keeps the type of its value. */
const RequestedFile = z.union([
  z.strictObject({ path, text: text(FILE_BYTES_MAX.ofRun).describe("Its content, as it is.") }),
  z.strictObject({
    path,
    json: z
      .unknown()
      .refine((value) => value !== undefined, { error: '"json" is needed, or "text".', params: { code: "Missing" } })
      .describe("Its content, written as JSON."),
  }),
]);
export type RequestedFile = z.infer<typeof RequestedFile>;

export const Files = z.array(RequestedFile).max(FILES_MAX);

/** A file with its content. `isLarge`: it stands in an object of its own, not in the pod's annotations. */
export interface RenderedFile {
  readonly path: string;
  readonly content: string;
  readonly isLarge: boolean;
}
