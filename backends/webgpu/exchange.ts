/** What threads of a workgroup tell one another, so that each knows the sum or the maximum of what all of them have. */
import type { Element } from "./kernel.ts";
import type { Profile } from "./profile.ts";

/** How the values of threads become one. */
export type Combination = "sum" | "maximum";

/** WGSL for two values as one. */
export const combined: Readonly<Record<Combination, (a: string, b: string) => string>> = {
  sum: (a, b) => `${a} + ${b}`,
  maximum: (a, b) => `max(${a}, ${b})`,
};
const ofSubgroup: Readonly<Record<Combination, string>> = { sum: "subgroupAdd", maximum: "subgroupMax" };

/** Threads of the smallest subgroup that WGSL allows. */
const leastSubgroup = 4;

/** Threads of a profile's smallest subgroup; undefined where kernels may not use subgroups. */
export const smallestSubgroup = ({
  features,
  subgroupMinSize = 0,
}: Pick<Profile, "features" | "subgroupMinSize">): number | undefined =>
  features.includes("subgroups") ? Math.max(subgroupMinSize, leastSubgroup) : undefined;

/**
 * The exchanges of a kernel whose workgroups are `threads` in one dimension. They are for uniform control flow, and always
 * in the same order, so that sums never vary on a device.
 */
export class Exchange {
  readonly #threads: number;
  readonly #subgroup: number | undefined;
  readonly #memory: string[] = [];

  constructor(threads: number, profile: Pick<Profile, "features" | "subgroupMinSize">) {
    this.#threads = threads;
    this.#subgroup = smallestSubgroup(profile);
  }

  /** WGSL's directives that the statements need. */
  get directives(): readonly string[] {
    return this.#subgroup === undefined || this.#threads === 1 ? [] : ["enable subgroups;"];
  }

  /** Declarations that the statements written so far need: each exchange has its own memory, so that none waits for another. */
  get module(): readonly string[] {
    return this.#memory;
  }

  /**
   * Statements that replace the variable `name` of each thread by the combination of all threads' values: no barrier where
   * the workgroup is within a subgroup, one where it is several, two without subgroups.
   */
  across(name: string, how: Combination, element: Element | "vec2f" = "f32"): string {
    const threads = this.#threads;
    if (threads === 1) return "";
    const one = combined[how];
    const subgroup = this.#subgroup;
    if (subgroup === undefined) {
      const partial = this.#array(element, threads);
      const first = 2 ** Math.ceil(Math.log2(threads) / 2);
      return `
        ${partial}[lane] = ${name};
        workgroupBarrier();
        if (lane < ${first}u) {
          for (var j = lane + ${first}u; j < ${threads}u; j += ${first}u) { ${name} = ${one(name, `${partial}[j]`)}; }
          ${partial}[lane] = ${name};
        }
        workgroupBarrier();
        ${name} = ${partial}[0];
        for (var j = 1u; j < ${first}u; j++) { ${name} = ${one(name, `${partial}[j]`)}; }`;
    }
    const within = `
        ${name} = ${ofSubgroup[how]}(${name});`;
    if (threads <= subgroup) return within;
    // The subgroups of a workgroup in one dimension are its threads in order; a constant bound lets all loads be at once.
    const most = Math.ceil(threads / subgroup);
    const partial = this.#array(element, most);
    return `${within}
        if (member == 0u) { ${partial}[lane / members] = ${name}; }
        workgroupBarrier();
        ${name} = ${partial}[0];
        for (var j = 1u; j < ${most}u; j++) {
          if (j * members < ${threads}u) { ${name} = ${one(name, `${partial}[j]`)}; }
        }`;
  }

  #array(element: Element | "vec2f", length: number): string {
    const name = `partial${this.#memory.length}`;
    this.#memory.push(`var<workgroup> ${name}: array<${element}, ${length}>;`);
    return name;
  }
}
