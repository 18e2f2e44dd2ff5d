/** Seating, dispatch, experts and combine as one op, for backends that list rows while they seat tokens. */
import { defineOp, type Op, type Value } from "../../op.ts";
import { Tensor } from "../../tensor.ts";
import { cast } from "../elementwise.ts";
import { iota, slice } from "../movement.ts";
import { descending, entry, mlpOf, rows } from "../numeric.ts";
import { topK } from "../reduction.ts";
import { shaped, spread } from "../shorthand.ts";
import { assignSlots } from "./assignSlots.ts";
import { assignSlotsWithin } from "./assignSlotsWithin.ts";
import { fillBuffers } from "./buffers.ts";
import { routedMlp } from "./routedMlp.ts";

const fixed =
  'x: float[G, T, D], choices: i32<E>[G, T, k], weights: f32[G, T, k], urgency: f32[G, T, u], w1: f32[E, D, F], b1: f32[E, F], w2: f32[E, F, D], b2: f32[E, D]; capacity, priority: "token" | "gate", approximate: "tanh" | "none", through: dtype -> y: f32[G, T, D], tokens: i32[G, E, capacity], slots: i32[G, T, k]';
const live =
  'x: float[G, T, D], choices: i32<E>[G, T, k], weights: f32[G, T, k], urgency: f32[G, T, u], limits: i32[3], w1: f32[E, D, F], b1: f32[E, F], w2: f32[E, F, D], b2: f32[E, D]; capacity, approximate: "tanh" | "none", through: dtype -> y: f32[G, T, D], tokens: i32[G, E, capacity], slots: i32[G, T, k]';

const source = "google-research/vmoe, vmoe/moe.py, sparse_moe_spmd, get_top_experts_per_item_dispatcher";

const isFloat = (dtype: string): boolean => dtype === "f32" || dtype === "f16" || dtype === "bf16";

interface Sizes {
  readonly G: number;
  readonly T: number;
  readonly D: number;
  readonly k: number;
  readonly u: number;
  readonly E: number;
  readonly F: number;
  readonly capacity: number;
  readonly approximate: "tanh" | "none";
  readonly through: "f32" | "f16" | "bf16" | "i32" | "u32" | "bool";
}

type Given = Readonly<Record<"x" | "choices" | "weights" | "urgency" | "w1" | "b1" | "w2" | "b2", Tensor>>;

/** The results where `counted` of a token's choices count, and `room` slots of an expert may be filled. */
function evaluated(
  { x, choices, weights, urgency, w1, b1, w2, b2 }: Given,
  { G, T, D, k, u, E, F, capacity, approximate, through }: Sizes,
  {
    counted,
    room,
    byUrgency,
  }: { readonly counted: number; readonly room: number; readonly byUrgency: boolean },
): { readonly y: Float64Array; readonly tokens: Int32Array; readonly slots: Int32Array } {
  const shares = weights.numbers();
  const first = rows(urgency, u).map(([largest = 0]) => largest);
  const order = Array.from({ length: G }, (_, g) => {
    const group = first.slice(g * T, (g + 1) * T);
    return byUrgency ? descending(group) : [...group.keys()];
  });
  const own = Array.from(choices.numbers(), (choice, i) => (i % k < counted ? choice : -1));
  const plan = fillBuffers(own, order.flat(), { G, T, k, experts: E, capacity }, room);
  const rounded = (numbers: ArrayLike<number>): Tensor =>
    Tensor.from({ dtype: through, shape: [numbers.length] }, numbers);
  const items = Float64Array.from(rounded(x.numbers()).numbers());
  const mlps = Array.from({ length: E }, (_, e) => ({
    w1: entry(w1, e),
    b1: entry(b1, e),
    w2: entry(w2, e),
    b2: entry(b2, e),
  }));
  const y = new Float64Array(G * T * D);
  for (const [choice, slot] of plan.slots.entries()) {
    const mlp = mlps[Math.floor(slot / capacity)];
    if (!mlp) continue;
    const at = Math.floor(choice / k) * D;
    const output = mlpOf(items.subarray(at, at + D), mlp, { D, F, approximate }).map(Math.fround);
    for (const [d, v] of Array.from(rounded(output).numbers()).entries())
      y[at + d] = (y[at + d] as number) + (shares[choice] as number) * v;
  }
  return { y, ...plan };
}

export const seatedMlp: Op<typeof fixed> = defineOp({
  name: "seated_mlp",
  summary:
    "`routed_mlp` of what is chosen: buffers fill by `assign_slots`, tokens in order of position (`token`) or of largest first entry of `urgency`, earlier first among equals (`gate`), and each token gets the weighted sum of the outputs of the experts that have a slot for it. What enters and what leaves the experts is rounded to the dtype `through`; the experts compute in f32.",
  source,
  signature: fixed,
  where: {
    C1: ["capacity >= 1", ({ capacity }) => capacity >= 1],
    C2: ["through is a float", ({ through }) => isFloat(through)],
  },
  traits: ["plan", "experts"],
  evaluate: (operands, sizes) =>
    evaluated(operands, sizes, {
      counted: sizes.k,
      room: sizes.capacity,
      byUrgency: sizes.priority === "gate",
    }),
  decompose(
    { x, choices, weights, urgency, w1, b1, w2, b2 },
    { G, T, E, capacity, priority, approximate, through },
  ) {
    const largest = (): Value => shaped(slice(urgency, { start: [0, 0, 0], limit: [G, T, 1] }), [G, T]);
    const order = priority === "gate" ? topK(largest(), { k: T }).indices : spread(iota({ size: T }), [G, T]);
    const plan = assignSlots(choices, order, { experts: E, capacity });
    const items = cast(cast(x, { to: through }), { to: "f32" });
    const y = routedMlp(items, plan.tokens, plan.slots, weights, w1, b1, w2, b2, { approximate, through });
    return { y, ...plan };
  },
});

export const seatedMlpWithin: Op<typeof live> = defineOp({
  name: "seated_mlp_within",
  summary:
    "`seated_mlp` of a program that is not compiled anew: choices, slots and order keep to `limits`, see `assign_slots_within`; the order is that of position or of largest first entry of `urgency`.",
  source,
  signature: live,
  where: {
    C1: ["capacity >= 1", ({ capacity }) => capacity >= 1],
    C2: ["through is a float", ({ through }) => isFloat(through)],
  },
  traits: ["plan", "experts"],
  evaluate(operands, sizes) {
    const [counted = 0, room = 0, order] = operands.limits.numbers();
    return evaluated(operands, sizes, {
      counted,
      room: Math.min(room, sizes.capacity),
      byUrgency: order === 1,
    });
  },
  decompose({ x, choices, weights, urgency, limits, w1, b1, w2, b2 }, { E, capacity, approximate, through }) {
    const plan = assignSlotsWithin(choices, urgency, limits, { experts: E, capacity });
    const items = cast(cast(x, { to: through }), { to: "f32" });
    const y = routedMlp(items, plan.tokens, plan.slots, weights, w1, b1, w2, b2, { approximate, through });
    return { y, ...plan };
  },
});
