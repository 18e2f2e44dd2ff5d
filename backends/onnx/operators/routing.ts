/**
 * Routing as model-local functions: Route, Dispatch, Experts and Combine. -1 stands for none and, as an index, for
 * the last row: tables end with a row for what goes nowhere.
 */
import { ops } from "../../../ir/index.ts";
import type { Body } from "../body.ts";
import { type Operator, routine } from "../operator.ts";
import { element } from "../proto.ts";

const toInt32 = { to: { int: element.int32 } };
const toInt64 = { to: { int: element.int64 } };

/** Sizes of axes `start .. stop - 1` of `x`. */
const shape = (body: Body, x: string, start: number, stop?: number): string =>
  body.call("Shape", [x], { start: { int: start }, ...(stop !== undefined && { end: { int: stop } }) });

/** A number of the function as an int32 tensor without axes. */
const count = (body: Body, name: string): string => body.call("Cast", [body.attribute(name)], toInt32);

/**
 * Fills the experts' buffers: see `assign_slots`.
 * @param choices int32 [G, T, k]
 * @param order int64 [G, T], the tokens in the order of service; by default as they come
 */
function assign(
  body: Body,
  choices: string,
  order: string | undefined,
): { readonly tokens: string; readonly slots: string } {
  const [experts, capacity] = [count(body, "experts"), count(body, "capacity")];
  const none = body.scalar(-1, element.int32);
  const swapped = { perm: { ints: [0, 2, 1] } };
  const size = shape(body, choices, 0);

  // Choices in the order of service, all first choices before all second ones: [G, k * T].
  const places = order && body.call("Expand", [body.call("Unsqueeze", [order, body.ints([-1])]), size]);
  const served = places ? body.call("GatherElements", [choices, places], { axis: { int: 1 } }) : choices;
  const queue = body.call("Transpose", [served], swapped);
  const expert = body.call("Reshape", [queue, body.ints([0, -1])]);

  // The place of each choice: how many before it chose the same expert.
  const zero = body.scalar(0, element.int32);
  const one = body.scalar(1, element.int32);
  const ids = body.call("Range", [zero, experts, one]);
  const same = body.call("Equal", [body.call("Unsqueeze", [expert, body.ints([-1])]), ids]);
  const chosen = body.call("Cast", [same], toInt32);
  const counts = body.call("CumSum", [chosen, body.scalar(1, element.int64)]);
  const until = body.call("ReduceSum", [body.call("Mul", [chosen, counts]), body.ints([-1])], {
    keepdims: { int: 0 },
  });
  const place = body.call("Sub", [until, one]);
  const fits = body.call("And", [
    body.call("Less", [place, capacity]),
    body.call("GreaterOrEqual", [expert, zero]),
  ]);
  const slot = body.call("Add", [body.call("Mul", [expert, capacity]), place]);
  const kept = body.call("Where", [fits, slot, none]);

  // Slots back in the order of the tokens.
  const back = body.call("Transpose", [body.call("Reshape", [kept, shape(body, queue, 0)])], swapped);
  const slots = places ? body.call("ScatterElements", [choices, places, back], { axis: { int: 1 } }) : back;

  // The token in each slot; dropped choices write to a slot of their own, the last.
  const all = body.call("Mul", [body.attribute("experts"), body.attribute("capacity")]);
  const width = body.call("Reshape", [
    body.call("Add", [all, body.scalar(1, element.int64)]),
    body.ints([1]),
  ]);
  const groups = shape(body, choices, 0, 1);
  const table = body.call("Expand", [none, body.call("Concat", [groups, width], { axis: { int: 0 } })]);
  const T = body.call("Squeeze", [shape(body, choices, 1, 2)]);
  const natural = body.call("Range", [zero, body.call("Cast", [T], toInt32), one]);
  const ordered = order
    ? body.call("Unsqueeze", [body.call("Cast", [order], toInt32), body.ints([1])])
    : natural;
  const repeated = body.call("Expand", [ordered, shape(body, queue, 0)]);
  const token = body.call("Reshape", [repeated, body.ints([0, -1])]);
  const seat = body.call("Cast", [kept], toInt64);
  const seated = body.call("ScatterElements", [table, seat, token], { axis: { int: 1 } });
  const buffers = body.call("Slice", [seated, body.ints([0]), body.ints([-1]), body.ints([1])]);
  const split = body.call(
    "Concat",
    [groups, body.call("Reshape", [body.attribute("experts"), body.ints([1])]), body.ints([-1])],
    { axis: { int: 0 } },
  );
  return { tokens: body.call("Reshape", [buffers, split]), slots };
}

export const assignSlots: Operator = routine(ops.assignSlots, {
  name: () => "AssignSlots",
  attributes: ({ experts, capacity }) => ({ experts, capacity }),
  write: (body, { choices, order }) => assign(body, choices, body.call("Cast", [order], toInt64)),
});

export const routeTopExperts: Operator = routine(ops.routeTopExperts, {
  name: ({ priority }) => (priority === "gate" ? "RouteByGate" : "Route"),
  attributes: ({ k, E, capacity }) => ({ k, experts: E, capacity }),
  write(body, { logits }, name) {
    const gates = body.call("Softmax", [logits], { axis: { int: -1 } });
    const k = body.call("Reshape", [body.attribute("k"), body.ints([1])]);
    const [weights = "", experts = ""] = body.calls("TopK", [gates, k], ["weights", "experts"]);
    const choices = body.call("Cast", [experts], toInt32);
    const order = (): string => {
      const largest = body.call("Slice", [weights, body.ints([0]), body.ints([1]), body.ints([2])]);
      const priority = body.call("Squeeze", [largest, body.ints([2])]);
      return body.calls("TopK", [priority, shape(body, logits, 1, 2)], ["gates", "tokens"])[1] as string;
    };
    return { ...assign(body, choices, name === "RouteByGate" ? order() : undefined), weights };
  },
});

/** Rows of `x` [G, N, D] at `indices` int32 [G, ...], of zeros at -1: [G, ..., D]. */
function gathered(body: Body, x: string, indices: string): string {
  const padded = body.call("Pad", [x, body.ints([0, 0, 0, 0, 1, 0])]);
  const wide = body.call("Unsqueeze", [body.call("Cast", [indices], toInt64), body.ints([-1])]);
  return body.call("GatherND", [padded, wide], { batch_dims: { int: 1 } });
}

export const dispatch: Operator = routine(ops.dispatch, {
  name: () => "Dispatch",
  attributes: () => ({}),
  write: (body, { x, tokens }) => ({ y: gathered(body, x, tokens) }),
});

/**
 * The weighted sum over the choices: of what they gather, or, where tokens have a choice for every expert, as a product
 * with a matrix of the weights, which is then smaller than what would be gathered.
 */
export const combine: Operator = routine(ops.combine, {
  name: ({ k, E }) => (k > 1 && k >= E ? "CombineAll" : "Combine"),
  attributes: () => ({}),
  write(body, { y, slots, weights }, name) {
    const flat = body.call("Concat", [shape(body, y, 0, 1), body.ints([-1]), shape(body, y, 3)], {
      axis: { int: 0 },
    });
    const rows = body.call("Reshape", [y, flat]);
    if (name === "CombineAll") {
      const mask = weightMatrix(body, slots, weights, shape(body, rows, 1, 2));
      return { z: body.call("MatMul", [mask, body.call("CastLike", [rows, weights])]) };
    }
    const outputs = body.call("CastLike", [gathered(body, rows, slots), weights]);
    const shares = body.call("Unsqueeze", [weights, body.ints([-1])]);
    const z = body.call("ReduceSum", [body.call("Mul", [outputs, shares]), body.ints([2])], {
      keepdims: { int: 0 },
    });
    return { z };
  },
});

/** The weight of each of `number` slots for each token, [G, T, number]: the sum of those of the choices that it serves. */
function weightMatrix(body: Body, slots: string, weights: string, number: string): string {
  const padded = body.call("Add", [number, body.ints([1])]);
  const size = body.call("Concat", [shape(body, slots, 0, 2), padded], { axis: { int: 0 } });
  const table = body.call("Expand", [body.scalar(0, element.float), size]);
  const added = body.call("ScatterElements", [table, body.call("Cast", [slots], toInt64), weights], {
    axis: { int: 2 },
    reduction: { text: "add" },
  });
  return body.call("Slice", [added, body.ints([0]), body.ints([-1]), body.ints([2])]);
}

export const expertMlp: Operator = routine(ops.expertMlp, {
  since: 20,
  name: () => "Experts",
  attributes: ({ approximate }) => ({ approximate }),
  write(body, { x, w1, b1, w2, b2 }) {
    // All groups' buffers of an expert are one matrix: its weights are read once.
    const swapped = { perm: { ints: [1, 0, 2, 3] } };
    const buffers = body.call("Transpose", [x], swapped);
    const rows = body.call("Concat", [shape(body, x, 1, 2), body.ints([-1]), shape(body, x, 3)], {
      axis: { int: 0 },
    });
    const affine = (v: string, w: string, b: string): string =>
      body.call("Add", [body.call("MatMul", [v, w]), body.call("Unsqueeze", [b, body.ints([1])])]);
    const hidden = body.call("Gelu", [affine(body.call("Reshape", [buffers, rows]), w1, b1)], {
      approximate: body.text("approximate"),
    });
    const outputs = body.call("Reshape", [affine(hidden, w2, b2), shape(body, buffers, 0)]);
    return { y: body.call("Transpose", [outputs], swapped) };
  },
});
