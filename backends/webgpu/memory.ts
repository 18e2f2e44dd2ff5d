/** Which buffer each value lives in: made once, reused as soon as nothing needs what it holds. */
import type { Device } from "./device.ts";
import { usage } from "./device.ts";

/** A buffer, or a part of one that starts at 0, with what it holds. */
export interface Place {
  readonly buffer: GPUBuffer;
  readonly bytes: number;
}

/** Buffers of one program. A buffer that is free is reused for what is at least half its size. */
export class Memory {
  readonly #device: Device;
  readonly #free: GPUBuffer[] = [];
  readonly #all: GPUBuffer[] = [];
  /** Bytes of all buffers made. */
  bytes = 0;

  constructor(device: Device) {
    this.#device = device;
  }

  /** Room for `bytes`; its contents are whatever was there. Throws B3. */
  async take(label: string, bytes: number): Promise<Place> {
    const fits = this.#free.filter(
      (buffer) => buffer.size >= bytes && buffer.size <= 2 * Math.max(bytes, 4096),
    );
    const best = fits.toSorted((a, b) => a.size - b.size)[0];
    if (best) {
      this.#free.splice(this.#free.indexOf(best), 1);
      return { buffer: best, bytes };
    }
    const buffer = await this.#device.buffer(
      label,
      bytes,
      usage.storage | usage.copySource | usage.copyTarget,
    );
    this.bytes += buffer.size;
    this.#all.push(buffer);
    return { buffer, bytes };
  }

  give({ buffer }: Place): void {
    this.#free.push(buffer);
  }

  dispose(): void {
    for (const buffer of this.#all) buffer.destroy();
    this.#all.length = 0;
  }
}
