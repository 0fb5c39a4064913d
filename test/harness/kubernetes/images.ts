/**
 * Container images made here from one static program: the layers, the manifest, and both as one file that containerd imports.
 *
 * The failure this prevents: tests that need somebody's registry, with its rate limit and the network between.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import { gzipSync } from "node:zlib";

export interface Image {
  /** "longshore.test/busybox:1" */
  readonly name: string;
  readonly manifest: Blob;
  readonly config: Blob;
  readonly layer: Blob;
}

export interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Buffer;
}

/** The image that every node of ours has: a shell with the usual small programs. */
export const BUSYBOX = "longshore.test/busybox:1";
/** The image of the container that holds a pod's namespaces. */
export const PAUSE = "longshore.test/pause:1";

const OCI = "application/vnd.oci.image";
/** The programs that tests' commands may name directly. The image has more, as `busybox NAME`. */
const APPLETS =
  "sh cat echo sleep true false env ls date head tail seq yes dd kill ps mkdir rm cp mv touch test id hostname wget nc printf awk sed grep wc";

/** `user`: the name of the user that the image runs as. */
export async function busyboxImage(busybox: string, name: string = BUSYBOX, user?: string): Promise<Image> {
  const program = await fs.readFile(busybox);
  return image(name, busyboxFiles(program), ["sh"], user);
}

/** The image of a program that speaks to the API server, with a shell beside it. */
export const POD_PROGRAM = "longshore.test/pod-program:1";

export async function podProgramImage(busybox: string, program: Buffer): Promise<Image> {
  const files = [...busyboxFiles(await fs.readFile(busybox)), file("bin/pod-program", program, 0o755)];
  return image(POD_PROGRAM, files, ["sh"]);
}

export async function pauseImage(busybox: string): Promise<Image> {
  const program = await fs.readFile(busybox);
  // If a pod shares one process namespace, this container's first process inherits the orphans and must reap them. A shell does
  // that; sleep would not.
  return image(PAUSE, busyboxFiles(program), [
    "/bin/sh",
    "-c",
    "trap 'exit 0' INT TERM; while :; do sleep 2147483647 & wait; done",
  ]);
}

function image(name: string, files: readonly File[], command: readonly string[], user?: string): Image {
  const content = tar(files);
  const layer = blob(`${OCI}.layer.v1.tar+gzip`, gzipSync(content, { level: 1 }));
  const config = blob(`${OCI}.config.v1+json`, {
    architecture: { x64: "amd64", arm64: "arm64" }[process.arch as string] ?? process.arch,
    os: "linux",
    config: { Cmd: command, Env: ["PATH=/bin"], ...(user !== undefined && { User: user }) },
    rootfs: { type: "layers", diff_ids: [sha256(content)] },
  });
  const manifest = blob(`${OCI}.manifest.v1+json`, {
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: described(config),
    layers: [described(layer)],
  });
  return { name, manifest, config, layer };
}

/** An index of images by processor, which has an image for an uncommon processor only. */
export const elsewhere = ({ manifest }: Image): Blob =>
  blob(`${OCI}.index.v1+json`, {
    schemaVersion: 2,
    mediaType: `${OCI}.index.v1+json`,
    manifests: [{ ...described(manifest), platform: { architecture: "s390x", os: "linux" } }],
  });

/** An OCI layout in one file, for `ctr images import`. */
export function archive({ name, manifest, config, layer }: Image): Buffer {
  const index = {
    schemaVersion: 2,
    manifests: [{ ...described(manifest), annotations: { "io.containerd.image.name": name } }],
  };
  const files = [manifest, config, layer].map((it) => file(`blobs/sha256/${it.digest.slice("sha256:".length)}`, it.bytes));
  const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
  return tar([file("oci-layout", json({ imageLayoutVersion: "1.0.0" })), file("index.json", json(index)), ...files]);
}

const described = ({ mediaType, digest, bytes }: Blob): object => ({ mediaType, digest, size: bytes.length });

function blob(mediaType: string, content: Buffer | object): Blob {
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
  return { mediaType, digest: sha256(bytes), bytes };
}

const sha256 = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

interface File {
  readonly path: string;
  readonly mode: number;
  /** The ustar types: "0" is a file, "1" another name of a file, "5" a folder. */
  readonly type: "0" | "1" | "5";
  readonly bytes: Buffer;
  readonly linkTo: string;
}

const file = (at: string, bytes: Buffer, mode = 0o644): File => ({ path: at, mode, type: "0", bytes, linkTo: "" });
const folder = (at: string, mode = 0o755): File => ({ path: at, mode, type: "5", bytes: Buffer.alloc(0), linkTo: "" });
const sameAs = (at: string, linkTo: string): File => ({ path: at, mode: 0o755, type: "1", bytes: Buffer.alloc(0), linkTo });

function busyboxFiles(program: Buffer): readonly File[] {
  return [
    folder("bin/"),
    folder("etc/"),
    folder("tmp/", 0o1777),
    folder("var/"),
    file("etc/passwd", Buffer.from("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")),
    file("bin/busybox", program, 0o755),
    ...APPLETS.split(" ").map((name) => sameAs(`bin/${name}`, "bin/busybox")),
  ];
}

const BLOCK = 512;

/**
 * Writes the old ustar form, which is enough for short names and files below eight gigabytes. Times are 0, so that a digest
 * depends on content alone.
 */
function tar(files: readonly File[]): Buffer {
  const blocks = files.flatMap((it) => {
    const rest = it.bytes.length % BLOCK;
    return [header(it), it.bytes, Buffer.alloc(rest === 0 ? 0 : BLOCK - rest)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function header({ path, mode, type, bytes, linkTo }: File): Buffer {
  if (path.length > 100 || linkTo.length > 100) throw new Error(`a name is too long for this archive: ${path}`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void =>
    void block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "ascii");
  block.write(path, 0, "ascii");
  octal(mode, 100, 8);
  octal(0, 108, 8); // owner
  octal(0, 116, 8); // group
  octal(bytes.length, 124, 12);
  octal(0, 136, 12); // time
  block.fill(" ", 148, 156); // the checksum field counts as spaces in its own sum
  block.write(type, 156, "ascii");
  block.write(linkTo, 157, "ascii");
  block.write("ustar\u000000", 257, "ascii");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "ascii");
  return block;
}
