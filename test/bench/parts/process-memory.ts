/**
 * The memory of a running Node program: its resident size, now and at its highest, by the kernel; and what its heap holds after
 * garbage was collected, by its inspector.
 *
 * The failure this prevents: garbage that V8 has not collected yet and that is taken for memory that the program keeps.
 */
import { readFile, writeFile } from "node:fs/promises";
import { rounded } from "./figures.ts";
import { inspectorUrl, openInspector } from "./inspector.ts";

export interface MemoryUse {
  /** The highest resident size since the last reading. */
  readonly peakMb: number;
  readonly rssMb: number;
  /** After the collection. */
  readonly heapMb: number;
  /** Memory of buffers, which lies outside the heap. */
  readonly buffersMb: number;
}

export interface MemoryMeter {
  /** Begins anew to look for the highest resident size. */
  reset(): Promise<void>;
  /** Reads the resident sizes, then collects garbage and reads the heap. */
  read(): Promise<MemoryUse>;
}

const MB = 1024 * 1024;
/** Written to a process' `clear_refs`, this sets its highest resident size to the present one. */
const RESET_PEAK = "5";

interface HeapUsage {
  readonly usedSize: number;
  readonly backingStorageSize?: number;
}

/** `said`: what the program printed to stderr after it was started with `--inspect`. Linux only. */
export function openMemoryMeter(pid: number, said: readonly string[]): MemoryMeter {
  const url = inspectorUrl(said); // taken now: a program's first lines are not kept for ever
  return {
    reset: () => writeFile(`/proc/${pid}/clear_refs`, RESET_PEAK),
    async read() {
      const status = await readFile(`/proc/${pid}/status`, "utf8");
      const mb = (field: string): number =>
        rounded(Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0) / 1024, 1);
      await using inspector = await openInspector(url);
      await inspector.ask("HeapProfiler.collectGarbage");
      const { usedSize, backingStorageSize = 0 } = (await inspector.ask("Runtime.getHeapUsage")) as HeapUsage;
      return {
        peakMb: mb("VmHWM"),
        rssMb: mb("VmRSS"),
        heapMb: rounded(usedSize / MB, 1),
        buffersMb: rounded(backingStorageSize / MB, 1),
      };
    },
  };
}
