/** Routing on the device: who goes where is decided, and never read back. */
import { ops } from "../../../ir/index.ts";
import { bind, grid, kernel, launch, type LaunchKernel, read, write } from "../kernel.ts";
import { lowest } from "../wgsl.ts";
import { seat } from "./seating.ts";

/**
 * One workgroup a group, one thread an expert: it walks all choices in the order of service and seats its own, so
 * that the result depends on no scheduling. O(T k) steps.
 */
export const assignSlots: LaunchKernel = kernel(
  ops.assignSlots,
  ({ operands: { choices, order }, results: { tokens, slots }, sizes, profile }) => {
    const { G, T, k, experts, capacity } = sizes;
    const threads = Math.min(Math.ceil(experts / 8) * 8, profile.limits.maxComputeInvocationsPerWorkgroup);
    return [
      launch({
        label: "assign_slots",
        bindings: [
          read("choices", choices),
          read("order", order),
          write("tokens", tokens),
          write("slots", slots),
        ],
        workgroups: [G, 1, 1],
        workgroupSize: [threads],
        body: `
      let base = group.x * ${T * k}u;
      for (var expert = lane; expert < ${experts}u; expert += ${threads}u) {
        let buffer = (group.x * ${experts}u + expert) * ${capacity}u;
        var place = 0u;
        for (var j = 0u; j < ${k}u; j++) {
          for (var i = 0u; i < ${T}u; i++) {
            let token = u32(order[group.x * ${T}u + i]);
            let choice = base + token * ${k}u + j;
            if (choices[choice] == i32(expert)) {
              if (place < ${capacity}u) {
                tokens[buffer + place] = i32(token);
                slots[choice] = i32(expert * ${capacity}u + place);
                place++;
              } else { slots[choice] = -1; }
            }
          }
        }
        for (; place < ${capacity}u; place++) { tokens[buffer + place] = -1; }
      }
      for (var i = lane; i < ${T * k}u; i += ${threads}u) {
        if (choices[base + i] < 0) { slots[base + i] = -1; }
      }`,
      }),
    ];
  },
);

export const assignSlotsWithin: LaunchKernel = kernel(
  ops.assignSlotsWithin,
  ({ operands: { choices, urgency, limits }, results: { tokens, slots }, sizes, profile }) => [
    seat(
      {
        choices,
        urgency: { resource: urgency, width: sizes.u },
        limits,
        tokens,
        slots,
        sizes,
        rows: undefined,
      },
      profile,
    ),
  ],
);

/** Gate and seating: one thread a token takes the softmax and picks k times in strict order. */
export const routeTopExperts: LaunchKernel = kernel(
  ops.routeTopExperts,
  ({ operands: { logits }, results: { tokens, slots, weights }, sizes, profile, scratch }) => {
    const { G, T, E, k, capacity, priority } = sizes;
    const choices = scratch("i32", G * T * k);
    const { workgroups, index } = grid(G * T, profile);
    const gate = launch({
      label: "gate",
      bindings: [
        read("logits", logits),
        write("weights", weights),
        bind("choices", choices, "i32", "read_write"),
      ],
      workgroups,
      workgroupSize: [profile.workgroup],
      body: `
        ${index}
        if (i >= ${G * T}u) { return; }
        var gates: array<f32, ${E}>;
        var largest = ${lowest};
        for (var e = 0u; e < ${E}u; e++) { largest = max(largest, logits[i * ${E}u + e]); }
        var total = 0.0f;
        for (var e = 0u; e < ${E}u; e++) {
          gates[e] = exp(logits[i * ${E}u + e] - largest);
          total += gates[e];
        }
        for (var e = 0u; e < ${E}u; e++) { gates[e] /= total; }
        // Gates are compared as they are, after the softmax; of equal ones the lower expert comes first.
        for (var j = 0u; j < ${k}u; j++) {
          var best = 0u;
          var gate = -1.0f;
          for (var e = 0u; e < ${E}u; e++) {
            if (gates[e] > gate) { best = e; gate = gates[e]; }
          }
          weights[i * ${k}u + j] = gate;
          choices[i * ${k}u + j] = i32(best);
          gates[best] = -1.0f;
        }`,
    });
    return [
      gate,
      seat(
        {
          choices,
          urgency: priority === "gate" ? { resource: weights, width: k } : undefined,
          limits: undefined,
          tokens,
          slots,
          sizes: { G, T, k, experts: E, capacity },
          rows: undefined,
        },
        profile,
      ),
    ];
  },
);

/** The most threads that share a group's tokens, where a barrier is cheap. */
const mostSharing = 256;

/**
 * One workgroup a group, all rounds in one launch, until everyone has a place: the threads share the tokens that ask and the
 * experts that count them, and only where more ask than there is room do tokens count who goes before them. O(T (T + E)) steps
 * a round, shared.
 */
export const chooseEvenly: LaunchKernel = kernel(
  ops.chooseEvenly,
  ({ operands: { scores }, results: { choices }, sizes: { G, T, E, capacity }, profile, scratch }) => {
    const { limits, lanesPerRow, workgroup } = profile;
    const wanted = lanesPerRow > 1 ? Math.min(mostSharing, Math.ceil(T / 8) * 8) : workgroup;
    const threads = Math.min(wanted, limits.maxComputeInvocationsPerWorkgroup);
    const shared = (name: string, count: number): string =>
      `for (var ${name} = lane; ${name} < ${count}u; ${name} += ${threads}u)`;
    return [
      launch({
        label: "choose evenly",
        bindings: [
          read("scores", scores),
          write("choices", choices),
          bind("asked", scratch("i32", G * T), "i32", "read_write"),
          bind("asking", scratch("u32", G * E), "u32", "read_write"),
          bind("room", scratch("u32", G * E), "u32", "read_write"),
        ],
        workgroups: [G, 1, 1],
        workgroupSize: [threads],
        module: "var<workgroup> left: u32;",
        body: `
      let tokens = group.x * ${T}u;
      let experts = group.x * ${E}u;
      ${shared("t", T)} { choices[tokens + t] = -1; }
      ${shared("e", E)} { room[experts + e] = ${capacity}u; }
      storageBarrier();
      for (var round = 0u; round < ${E}u; round++) {
        ${shared("t", T)} {
          var best = -1;
          var most = 0.0f;
          if (choices[tokens + t] < 0) {
            for (var e = 0u; e < ${E}u; e++) {
              let score = scores[(tokens + t) * ${E}u + e];
              if (room[experts + e] > 0u && (best < 0 || score > most)) { best = i32(e); most = score; }
            }
          }
          asked[tokens + t] = best;
        }
        storageBarrier();
        ${shared("e", E)} {
          var count = 0u;
          for (var t = 0u; t < ${T}u; t++) { count += select(0u, 1u, asked[tokens + t] == i32(e)); }
          asking[experts + e] = count;
        }
        storageBarrier();
        ${shared("t", T)} {
          let expert = asked[tokens + t];
          if (expert < 0) { continue; }
          let e = u32(expert);
          var before = 0u;
          if (asking[experts + e] > room[experts + e]) {
            let own = scores[(tokens + t) * ${E}u + e];
            for (var i = 0u; i < ${T}u; i++) {
              if (asked[tokens + i] == expert) {
                let theirs = scores[(tokens + i) * ${E}u + e];
                before += select(0u, 1u, theirs > own || (theirs == own && i < t));
              }
            }
          }
          if (before < room[experts + e]) { choices[tokens + t] = expert; }
        }
        storageBarrier();
        ${shared("e", E)} { room[experts + e] -= min(room[experts + e], asking[experts + e]); }
        storageBarrier();
        if (lane == 0u) {
          left = 0u;
          for (var e = 0u; e < ${E}u; e++) { left += room[experts + e]; }
        }
        if (workgroupUniformLoad(&left) == ${E * capacity - T}u) { break; }
      }`,
      }),
    ];
  },
);

/** One thread an element of the buffers. */
export const dispatch: LaunchKernel = kernel(
  ops.dispatch,
  ({ operands: { x, tokens }, results: { y }, sizes: { G, N, E, capacity, D }, profile }) => {
    const { workgroups, index } = grid(G * E * capacity * D, profile);
    return [
      launch({
        label: "dispatch",
        bindings: [read("x", x), read("tokens", tokens), write("y", y)],
        workgroups,
        workgroupSize: [profile.workgroup],
        body: `
          ${index}
          if (i >= ${G * E * capacity * D}u) { return; }
          let slot = i / ${D}u;
          let token = tokens[slot];
          var v = 0.0f;
          if (token >= 0) { v = x[((slot / ${E * capacity}u) * ${N}u + u32(token)) * ${D}u + i % ${D}u]; }
          y[i] = v;`,
      }),
    ];
  },
);

/** One thread an element of the result; choices are added in their order, so that sums never vary. */
export const combine: LaunchKernel = kernel(
  ops.combine,
  ({ operands: { y, slots, weights }, results: { z }, sizes: { G, T, E, k, capacity, D }, profile }) => {
    const { workgroups, index } = grid(G * T * D, profile);
    return [
      launch({
        label: "combine",
        bindings: [read("y", y), read("slots", slots), read("weights", weights), write("z", z)],
        workgroups,
        workgroupSize: [profile.workgroup],
        body: `
          ${index}
          if (i >= ${G * T * D}u) { return; }
          let token = i / ${D}u;
          let buffers = (token / ${T}u) * ${E * capacity}u;
          var sum = 0.0f;
          for (var j = 0u; j < ${k}u; j++) {
            let slot = slots[token * ${k}u + j];
            if (slot >= 0) { sum += weights[token * ${k}u + j] * y[(buffers + u32(slot)) * ${D}u + i % ${D}u]; }
          }
          z[i] = sum;`,
      }),
    ];
  },
);
