/** How moec's own functions are read, by their names; and the ops that move elements by indices, of which they are made. */
import { ops, sameShape, type Shape, sizeOf, type Value } from "../../../../ir/index.ts";
import { element } from "../../proto.ts";
import { aligned, converted, shaped, spread } from "../align.ts";
import type { Call, Reader } from "../call.ts";
import { data, type Item, shapeOf } from "../item.ts";
import { along, last } from "./rows.ts";

const route =
  (priority: "token" | "gate"): Reader =>
  (call) => {
    const logits = call.value(0);
    const experts = call.required("int", "experts");
    if (experts !== logits.type.shape.at(-1))
      throw call.problem(`must have logits of ${experts} experts`, "O3");
    const [k, capacity] = [call.required("int", "k"), call.required("int", "capacity")];
    const { tokens, slots, weights } = ops.routeTopExperts(logits, { k, capacity, priority });
    return [tokens, slots, weights].map(data);
  };

const combine: Reader = (call) => data(ops.combine(call.value(0), call.value(1), call.value(2)));

/** The functions of the domain `moec`: what each one is, whatever its body. */
export const routines: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ["Route", route("token")],
  ["RouteByGate", route("gate")],
  [
    "AssignSlots",
    (call) => {
      const [experts, capacity] = [call.required("int", "experts"), call.required("int", "capacity")];
      const { tokens, slots } = ops.assignSlots(call.value(0), call.value(1), { experts, capacity });
      return [data(tokens), data(slots)];
    },
  ],
  ["Dispatch", (call) => data(ops.dispatch(call.value(0), call.value(1)))],
  [
    "Experts",
    (call) => {
      const approximate = call.required("text", "approximate");
      if (approximate !== "none" && approximate !== "tanh")
        throw call.problem(`has approximate = ${approximate}`, "O3");
      const [x, w1, b1] = [call.value(0), call.value(1), call.value(2)];
      return data(ops.expertMlp(x, w1, b1, call.value(3), call.value(4), { approximate }));
    },
  ],
  ["Combine", combine],
  ["CombineAll", combine],
]);

/** Input `i` as i32 indices below `size`; negative ones count from the last. */
function indices(call: Call, i: number, size: number): Value {
  const item = call.item(i);
  if (item.element !== element.int64 && item.element !== element.int32)
    throw call.problem(`must have integers as input ${i}`, "O3");
  const { values, exact } = aligned(call, [item]);
  if (!exact) throw call.inexact();
  const from = converted(values[0] as Value, "i32");
  const { shape } = from.type;
  const filled = (value: number): Value => ops.constant({ value, to: "i32", shape });
  return ops.select(ops.compare(from, filled(0), { is: "lt" }), ops.add(from, filled(size)), from);
}

/** Rows of a batch's own table, which `dispatch` gathers too. */
const gatherND: Reader = (call) => {
  const x = call.value(0);
  const lead = call.attribute("int", "batch_dims", 0);
  const shape = shapeOf(call.item(1));
  if (lead < 0 || shape.at(-1) !== 1 || lead >= Math.min(x.type.shape.length, shape.length))
    throw call.problem("gathers by more than one index each");
  const [groups, [N = 1, ...row]] = [x.type.shape.slice(0, lead), x.type.shape.slice(lead)];
  if (!sameShape(groups, shape.slice(0, lead)))
    throw call.problem("must have tables and indices of one batch", "O3");
  const places = shape.slice(lead, -1);
  const [G, M, D] = [sizeOf(groups), sizeOf(places), sizeOf(row)];
  const tokens = shaped(indices(call, 1, N), [G, 1, M]);
  const y = ops.dispatch(shaped(x, [G, N, D]), tokens);
  return data(shaped(y, [...groups, ...places, ...row]));
};

/** Throws O4 unless the shapes differ along `axis` alone. */
function rowsAlong(call: Call, [x, y]: readonly [Shape, Shape], axis: number): void {
  if (x.length !== y.length || x.some((size, i) => i !== axis && size !== y[i]))
    throw call.problem(
      `has shapes [${x.join(", ")}] and [${y.join(", ")}], which must differ along axis ${axis} alone`,
    );
}

/** For rows `x` of [..., N] the entry at each of `at` [..., M]: [..., M]. Only one term of each sum is not 0. */
function picked(x: Value, at: Value): Value {
  const [lead, N, M] = [x.type.shape.slice(0, -1), x.type.shape.at(-1) ?? 1, at.type.shape.at(-1) ?? 1];
  const size = [...lead, M, N];
  const hits = ops.compare(spread(shaped(at, [...lead, M, 1]), size), spread(ops.iota({ size: N }), size), {
    is: "eq",
  });
  const zero = ops.constant({ value: 0, to: x.type.dtype, shape: size });
  return shaped(ops.reduceSum(ops.select(hits, spread(shaped(x, [...lead, 1, N]), size), zero)), [
    ...lead,
    M,
  ]);
}

const gatherElements: Reader = (call) => {
  const [item, at] = [call.item(0), call.item(1)];
  const axis = call.axis(call.attribute("int", "axis", 0), shapeOf(item).length);
  rowsAlong(call, [shapeOf(item), shapeOf(at)], axis);
  const places = last(indices(call, 1, shapeOf(item)[axis] as number), axis);
  const {
    values: [x],
    result,
  } = aligned(call, [item]);
  return result(along(x as Value, axis, (rows) => picked(rows, places)));
};

/** How updates of one place meet: the last one stays, or all are added to what was there. */
const reductions: Readonly<Record<string, typeof scattered>> = { none: scattered, add: added };

const scatterElements: Reader = (call) => {
  const reduction = call.attribute("text", "reduction", "none");
  const meet = Object.hasOwn(reductions, reduction) ? reductions[reduction] : undefined;
  if (!meet) throw call.problem(`combines what it scatters by ${reduction}, which is not read`);
  const items: Item[] = [call.item(0), call.item(2)];
  const [from = [], updated = []] = items.map(shapeOf);
  const axis = call.axis(call.attribute("int", "axis", 0), from.length);
  rowsAlong(call, [from, updated], axis);
  if (!sameShape(updated, shapeOf(call.item(1))))
    throw call.problem("must have an index for each update", "O3");
  const { values, exact, result } = aligned(call, items);
  const [x, updates] = values as [Value, Value];
  const places = last(indices(call, 1, from[axis] as number), axis);
  const isWideSum = reduction === "add" && call.item(0).element === element.int64;
  return result(
    along(x, axis, (rows) => meet(rows, places, last(updates, axis))),
    exact && !isWideSum,
  );
};

/** Which of the places [..., M] is which of N, bool[..., N, M]. */
function hitsOf(places: Value, N: number): Value {
  const { shape } = places.type;
  const [lead, M] = [shape.slice(0, -1), shape.at(-1) ?? 1];
  const size = [...lead, N, M];
  const wanted = spread(shaped(ops.iota({ size: N }), [N, 1]), size);
  return ops.compare(spread(shaped(places, [...lead, 1, M]), size), wanted, { is: "eq" });
}

/** Rows `x` [..., N] with updates [..., M] at the places [..., M]. */
function scattered(x: Value, places: Value, updates: Value): Value {
  const { shape } = x.type;
  const hits = hitsOf(places, shape.at(-1) ?? 1);
  const size = hits.type.shape;
  const M = size.at(-1) ?? 1;
  const none = ops.constant({ value: -1, to: "i32", shape: size });
  const update = shaped(ops.reduceMax(ops.select(hits, spread(ops.iota({ size: M }), size), none)), shape);
  const isHit = ops.compare(update, ops.constant({ value: 0, to: "i32", shape }), { is: "ge" });
  return ops.select(isHit, picked(updates, update), x);
}

/** Rows `x` [..., N] with the sum of the updates [..., M] at each of the places [..., M] added. */
function added(x: Value, places: Value, updates: Value): Value {
  const { shape } = x.type;
  const hits = hitsOf(places, shape.at(-1) ?? 1);
  const size = hits.type.shape;
  const each = spread(shaped(updates, [...shape.slice(0, -1), 1, size.at(-1) ?? 1]), size);
  const none = ops.constant({ value: 0, to: x.type.dtype, shape: size });
  return ops.add(x, shaped(ops.reduceSum(ops.select(hits, each, none)), shape));
}

export const gathering: Readonly<Record<string, Reader>> = {
  GatherND: gatherND,
  GatherElements: gatherElements,
  ScatterElements: scatterElements,
};
