/** Sweeps: one compiled program, run once for every combination of the knobs that `--sweep` lists. */
import { median } from "../backends/statistics.ts";
import type { Result } from "../inference/result.ts";
import { CompileError } from "../ir/index.ts";
import { type BlockRoutes, type Knobs, knobsOf, knobsPrefix, type Model } from "../models/index.ts";
import type { Inference } from "./inference.ts";
import { table } from "./terminal.ts";

const knobs: Readonly<Record<keyof Knobs, (text: string) => number | string | undefined>> = {
  k: (text) => (/^\d+$/.test(text) ? Number(text) : undefined),
  capacity: (text) => (Number(text) > 0 ? Number(text) : undefined),
  priority: (text) => (text === "token" || text === "gate" ? text : undefined),
};

/** One `knob=value,value,...` of a command line into what is collected already. Throws U1 for anything else. */
export function parseSweep(text: string, all: Sweep): Sweep {
  const [name = "", list = "", ...rest] = text.split("=");
  const knob = (Object.keys(knobs) as (keyof Knobs)[]).find((each) => each === name);
  const values = knob ? list.split(",").map((each) => knobs[knob](each.trim())) : [];
  if (!knob || rest.length > 0 || values.includes(undefined)) {
    const must = "must be like k=1,2 or capacity=0.5,1.05 or priority=token,gate";
    throw new CompileError("U1", "--sweep", `${must}; got ${text}`);
  }
  return { ...all, [knob]: [...(all[knob] ?? []), ...values] };
}

/** The values of each knob that is swept. */
export type Sweep = Readonly<Partial<Record<keyof Knobs, readonly (number | string | undefined)[]>>>;

/** Every combination, the first knob slowest. */
const settingsOf = (sweep: Sweep): Knobs[] =>
  Object.entries(sweep).reduce<Knobs[]>(
    (settings, [knob, values]) =>
      settings.flatMap((setting) => values.map((value) => ({ ...setting, [knob]: value }))),
    [{}],
  );

/** What one setting gave. */
interface SweepRow {
  readonly knobs: Knobs;
  /** Choices of a token, and slots of an expert in each group, of each sparse block. */
  readonly limits: readonly { readonly block: string; readonly k: number; readonly slots: number }[];
  /** Milliseconds, the median of `--repeat` runs. */
  readonly milliseconds: number;
  /** The share of choices that found no slot, over all blocks. */
  readonly dropRate: number;
  /** The class of largest logit of each image. */
  readonly classes: readonly number[];
}

/** Runs every setting of `sweep` on one program, and prints a row each. Throws U1 for images of several batches. */
export async function runSweep(
  name: string,
  sweep: Sweep,
  { repeat, json }: { readonly repeat: number; readonly json?: boolean },
  { model, names, batch, read, inputs, choice: { backend, engine, reason }, progress, compile }: Inference,
): Promise<void> {
  if (names.length > batch) {
    const got = `${names.length} images, ${batch} at a time`;
    throw new CompileError("U1", "--sweep", `is for one batch; got ${got}`);
  }
  const settings = settingsOf(sweep).map((setting) => ({ setting, given: knobsOf(model, setting) }));
  const images = await read(0, names.length);
  const program = await compile();
  const run = (setting: Knobs): Promise<Result> => program.run(images, { ...setting, inputs: inputs(0) });
  // The first run pays for what the driver puts off.
  await run({});
  const rows: SweepRow[] = [];
  for (const [i, { setting, given }] of settings.entries()) {
    progress.show(i / settings.length, "sweeping");
    const times: number[] = [];
    const results: Result[] = [];
    for (let n = 0; n < repeat; n++) {
      const before = performance.now();
      results.push(await run(setting));
      times.push(performance.now() - before);
    }
    const limits = model.blocks.map(({ name: block }) => {
      const [k = 0, slots = 0] = given.get(knobsPrefix + block)?.numbers() ?? [];
      return { block, k, slots };
    });
    const [result] = results as [Result];
    rows.push({
      knobs: setting,
      limits,
      milliseconds: Math.round(10 * median(times)) / 10,
      dropRate: dropRateOf(result.routes, limits),
      classes: result.top(1).map(([best]) => best?.class ?? -1),
    });
  }
  progress.stop();
  await program.close();
  if (json)
    return console.log(JSON.stringify({ model: name, backend: backend.name, device: engine.device, rows }));
  console.log(`${name} on ${backend.name}: ${engine.device} (${reason}), compiled once\n`);
  console.log(tableOf(model, Object.keys(sweep) as (keyof Knobs)[], rows));
}

/** Choices without a slot, among those that count. */
function dropRateOf(routes: readonly BlockRoutes[], limits: SweepRow["limits"]): number {
  let [kept, all] = [0, 0];
  for (const [b, { choices, dropped, map, loads }] of routes.entries()) {
    const tokens = map.flat().length;
    all += choices === 0 ? tokens : tokens * (limits[b]?.k ?? 0);
    kept += choices === 0 ? loads.reduce((a, c) => a + c, 0) : choices - dropped;
  }
  return all === 0 ? 0 : 1 - kept / all;
}

function tableOf({ blocks }: Model, swept: readonly (keyof Knobs)[], rows: readonly SweepRow[]): string {
  const slots = ({ limits }: SweepRow): string => [...new Set(limits.map((each) => each.slots))].join(", ");
  const cells = rows.map((row) => [
    ...swept.map((knob) => row.knobs[knob] ?? ""),
    slots(row),
    row.milliseconds.toFixed(1),
    `${(100 * row.dropRate).toFixed(1)} %`,
    row.classes.join(", "),
  ]);
  const groups = blocks[0]?.groups ?? 1;
  const head = groups > 1 ? `slots (of ${groups} groups)` : "slots";
  return table([[...swept, head, "ms", "dropped", "class"], ...cells]);
}
