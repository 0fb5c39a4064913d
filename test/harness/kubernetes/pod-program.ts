/**
 * A small program that speaks to the API server from within its pod, and the image of it: modules/pod-program/main.go.
 *
 * The failure this prevents: promises about programs that annotate their pod, or make pods, that no such program ever kept us to.
 */
import * as fs from "node:fs/promises";
import path from "node:path";
import { type Say, toStderr } from "../builds/cached.ts";
import { built } from "../builds/go.ts";
import { type Image, podProgramImage } from "./images.ts";
import { nodePrograms } from "./node-programs.ts";

const FOLDER = path.join(import.meta.dirname, "modules/pod-program");

export async function podProgram(say: Say = toStderr): Promise<Image> {
  const folder = await built({ name: "pod-program", folder: FOLDER, packages: { "pod-program": "." } }, say);
  const { busybox } = await nodePrograms();
  return podProgramImage(busybox, await fs.readFile(path.join(folder, "pod-program")));
}
