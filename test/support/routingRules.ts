/** The rules of routers on plain numbers, written from their sources: what programs are held to. */

/** A token's choices, the best first, and what it is served by: all in float32 where the router rounds. */
export interface Choice {
  readonly experts: readonly number[];
  readonly weights: readonly number[];
  readonly largest: number;
  readonly sum: number;
}

/** Options of any router. */
export type RuleOptions = Readonly<Record<string, number>> & { readonly num_selected_experts: number };

/** A router's rule: what a token with these logits, noise included, chooses. */
export type Rule = (
  logits: readonly number[],
  options: RuleOptions,
  rest: { readonly bias: readonly number[]; readonly table: readonly number[] },
) => Choice;

/** Indices from the largest entry to the smallest; the lower index first among equals. */
export function ranked(scores: readonly number[]): number[] {
  const rest = scores.map((score, i) => ({ score, i }));
  return rest.toSorted((a, b) => b.score - a.score || a.i - b.i).map(({ i }) => i);
}

const { fround } = Math;
const added = (xs: readonly number[]): number => xs.reduce((sum, x) => sum + x, 0);

function softmax(row: readonly number[]): number[] {
  const powers = row.map((v) => Math.exp(v - Math.max(...row)));
  return powers.map((p) => fround(p / added(powers)));
}

const sigmoid = (row: readonly number[]): number[] => row.map((v) => fround(1 / (1 + Math.exp(-v))));

const sharesOf = (xs: readonly number[]): number[] => xs.map((x) => x / added(xs));

const pick = (
  compared: readonly number[],
  gates: readonly number[],
  k: number,
  weigh: (chosen: readonly number[]) => readonly number[],
): Choice => {
  const experts = ranked(compared).slice(0, k);
  const chosen = experts.map((e) => gates[e]!);
  return {
    experts,
    weights: weigh(chosen),
    largest: compared[experts[0]!]!,
    sum: fround(added(chosen)),
  };
};

const asTheyAre = (chosen: readonly number[]): readonly number[] => chosen;

const byGate: Rule = (logits, { num_selected_experts: k }) => {
  const gates = softmax(logits);
  return pick(gates, gates, k, asTheyAre);
};

const byTable: Rule = (_, { num_selected_experts: k }, { table }) =>
  pick(
    table,
    table.map(() => fround(1 / k)),
    k,
    asTheyAre,
  );

/** What each router says, by its name. */
export const rules: Readonly<Record<string, Rule>> = {
  NoisyTopExpertsPerItemRouter: byGate,
  SwitchRouter: byGate,

  TopKRenormalisedRouter(logits, { num_selected_experts: k }) {
    const gates = softmax(logits);
    return pick(gates, gates, k, sharesOf);
  },

  SoftmaxAfterTopKRouter(logits, { num_selected_experts: k }) {
    const { experts, sum } = pick(logits, softmax(logits), k, asTheyAre);
    const powers = experts.map((e) => Math.exp(logits[e]!));
    return { experts, weights: sharesOf(powers), largest: logits[experts[0]!]!, sum };
  },

  SigmoidBiasRouter(logits, { num_selected_experts: k }, { bias }) {
    const gates = sigmoid(logits);
    const biased = gates.map((gate, e) => fround(gate + bias[e]!));
    return pick(biased, gates, k, sharesOf);
  },

  GroupLimitedRouter(
    logits,
    { num_selected_experts: k, n_group: n = 1, topk_group = 1, routed_scaling_factor = 1 },
    { bias },
  ) {
    const gates = sigmoid(logits);
    const biased = gates.map((gate, e) => fround(gate + bias[e]!));
    const size = logits.length / n;
    const worth = Array.from({ length: n }, (_, g) => {
      const [first, second = 0] = biased.slice(g * size, (g + 1) * size).toSorted((a, b) => b - a);
      return fround(first! + second);
    });
    const open = new Set(ranked(worth).slice(0, topk_group));
    const allowed = biased.map((score, e) => (open.has(Math.floor(e / size)) ? score : -Infinity));
    return pick(allowed, gates, k, (chosen) => sharesOf(chosen).map((w) => w * routed_scaling_factor));
  },

  ThresholdRouter(logits, { num_selected_experts: k, top_p = 0.4 }) {
    const gates = softmax(logits);
    const all = pick(gates, gates, k, asTheyAre);
    let before = 0;
    const kept = all.weights.map((gate) => {
      const counts = before <= fround(top_p);
      before += gate;
      return counts;
    });
    return {
      ...all,
      experts: all.experts.map((e, j) => (kept[j] ? e : -1)),
      sum: fround(added(all.weights.filter((_, j) => kept[j]))),
    };
  },

  HashRouter: byTable,
  RandomRouter: byTable,
};

/** How buffers are sized and filled. */
interface Buffers {
  readonly capacity: number;
  readonly priority: "position" | "largest" | "sum";
}

/** Who sits where: every token's first choice is served before any second one. */
export function seated(
  choices: readonly Choice[],
  experts: number,
  { capacity, priority }: Buffers,
): { readonly tokens: number[]; readonly slots: number[] } {
  const order =
    priority === "position" ? [...choices.keys()] : ranked(choices.map((choice) => choice[priority]));
  const k = choices[0]!.experts.length;
  const buffers = Array.from({ length: experts }, (): number[] => []);
  const slots = Array<number>(choices.length * k).fill(-1);
  for (let j = 0; j < k; j++) {
    for (const token of order) {
      const expert = choices[token]!.experts[j]!;
      const buffer = buffers[expert];
      if (!buffer || buffer.length === capacity) continue;
      slots[token * k + j] = expert * capacity + buffer.push(token) - 1;
    }
  }
  const tokens = buffers.flatMap((buffer) => [
    ...buffer,
    ...Array<number>(capacity - buffer.length).fill(-1),
  ]);
  return { tokens, slots };
}
