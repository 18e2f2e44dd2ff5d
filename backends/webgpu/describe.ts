/** What the adapters of a WebGPU are: makers, features and limits, without opening a device. */

/** One adapter. */
export interface AdapterFacts {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  /** The driver, as it describes itself. */
  readonly description: string;
  /** Whether it computes on the CPU. */
  readonly software: boolean;
  /** Whether shaders may compute in float16, and in subgroups. */
  readonly f16: boolean;
  readonly subgroups: boolean;
  readonly features: readonly string[];
  /** By WebGPU's names, in bytes or counts. */
  readonly limits: Readonly<Record<string, number>>;
}

const requests: readonly GPURequestAdapterOptions[] = [
  { powerPreference: "high-performance" },
  { powerPreference: "low-power" },
  { forceFallbackAdapter: true },
];

/** The adapters that `gpu` gives, each once, the one for heavy work first; none where there is no WebGPU. */
export async function describeGpu(gpu: GPU | undefined): Promise<AdapterFacts[]> {
  const found = new Map<string, AdapterFacts>();
  for (const request of requests) {
    const adapter = await gpu?.requestAdapter(request);
    if (!adapter) continue;
    const facts = factsOf(adapter);
    const { vendor, architecture, device, description } = facts;
    const key = JSON.stringify([vendor, architecture, device, description]);
    if (!found.has(key)) found.set(key, facts);
  }
  return [...found.values()];
}

function factsOf({ info, features, limits: given }: GPUAdapter): AdapterFacts {
  const { vendor, architecture, device, description, isFallbackAdapter } = info;
  const limits: Record<string, number> = {};
  // Limits are getters of a prototype, which no spread and no Object.entries sees.
  for (const name in given) {
    const value = given[name as keyof GPUSupportedLimits];
    if (typeof value === "number") limits[name] = value;
  }
  return {
    vendor,
    architecture,
    device,
    description,
    software: isFallbackAdapter,
    f16: features.has("shader-f16"),
    subgroups: features.has("subgroups"),
    features: [...features].toSorted(),
    limits,
  };
}
