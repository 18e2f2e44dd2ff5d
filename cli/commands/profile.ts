/** `moec profile`: where a run's time goes, launch by launch, as the device tells it. */
import { Command, Option } from "commander";

import type { LaunchTime, Span } from "../../backends/backend.ts";
import { isOfExperts, spansOf } from "../../backends/spans.ts";
import { median } from "../../backends/statistics.ts";
import { warmUp } from "../../backends/turns.ts";
import { checkWritable, writeFileAtomically } from "../../files/disk.ts";
import { CompileError } from "../../ir/index.ts";
import { drawFlame } from "../flame.ts";
import { infer, type Inference, type InferenceOptions } from "../inference.ts";
import { examples, inferring, parseCount } from "../options.ts";
import { bold, dim, table } from "../terminal.ts";

interface ProfileOptions extends InferenceOptions {
  readonly svg?: string;
  readonly repeat: number;
}

/** Launches of one kind, in a model's sparse layers or outside. */
interface Row {
  readonly label: string;
  readonly sparse: boolean;
  readonly launches: number;
  readonly ms: number;
  /** Of what all launches take. */
  readonly share: number;
  readonly gflops: number;
  readonly gigabytesPerSecond: number;
}

/** Milliseconds of launches without a break between them, as a run makes them. */
interface Together {
  readonly ms: number;
  /** Those of the sparse layers, and of them of the experts' products alone. */
  readonly moe: { readonly ms: number; readonly experts: number };
}

/** What `--json` prints. */
interface Profile extends Together {
  readonly model: string;
  readonly device: string;
  readonly images: number;
  readonly rows: readonly Row[];
  /** Each in a pass of its own. */
  readonly launches: readonly LaunchTime[];
}

async function profile(name: string, options: ProfileOptions): Promise<void> {
  if (options.svg !== undefined) await checkWritable(options.svg);
  await infer(name, options, options.json === true, async (inference) => {
    const { launches, together } = await measured(options, inference);
    const images = inference.batch;
    const about = { model: name, device: inference.choice.engine.device, images };
    const found: Profile = { ...about, ...together, rows: rowsOf(launches), launches };
    inference.progress.stop();
    if (options.svg !== undefined) {
      const drawn = drawFlame(`${name}, ${images} image${images === 1 ? "" : "s"}`, inOrder(launches));
      await writeFileAtomically(options.svg, (sink) => sink(new TextEncoder().encode(drawn)));
    }
    if (options.json) console.log(JSON.stringify(found));
    else show(found);
  });
}

/**
 * Every launch with the median of its times, alone, and what launches take together, in runs of one batch. Throws U1 for
 * images of several.
 */
async function measured(
  { repeat }: ProfileOptions,
  { model, names, batch, read, inputs, compile, progress }: Inference,
): Promise<{ readonly launches: readonly LaunchTime[]; readonly together: Together }> {
  if (names.length !== batch) {
    throw new CompileError(
      "U1",
      "profile",
      `is for one whole batch; got ${names.length} images, ${batch} at a time`,
    );
  }
  const images = await read(0, batch);
  const program = await compile([model.prediction ?? "logits"]);
  const given = { inputs: inputs(0) };
  const alone = (): Promise<readonly LaunchTime[]> => program.profile(images, given);
  try {
    // The first run builds what later ones find built.
    const launches = await alone();
    const whole: Span = [0, launches.length];
    const [layers, experts] = [spansOf(launches, isSparse), spansOf(launches, isExperts)];
    const spans = [whole, ...layers, ...experts];
    progress.show(0, "warming up");
    await warmUp(alone);
    const times: (readonly LaunchTime[])[] = [];
    const timesOfSpans: (readonly number[])[] = [];
    for (let i = 0; i < repeat; i++) {
      times.push(await alone());
      timesOfSpans.push(await program.time(images, spans, given));
      progress.show(i / repeat, "timing");
    }
    const taken = new Map(spans.map((span, i) => [span, median(timesOfSpans.map((each) => each[i] ?? 0))]));
    const sum = (some: readonly Span[]): number =>
      some.reduce((all, span) => all + (taken.get(span) ?? 0), 0);
    return {
      launches: launches.map((launch, i) => ({
        ...launch,
        ms: median(times.map((each) => each[i]?.ms ?? 0)),
      })),
      together: { ms: sum([whole]), moe: { ms: sum(layers), experts: sum(experts) } },
    };
  } finally {
    await program.close();
  }
}

const isSparse = ({ scope }: LaunchTime): boolean => scope.split("/").includes("Moe");
const isExperts = (launch: LaunchTime): boolean => isSparse(launch) && isOfExperts(launch);
const total = (launches: readonly LaunchTime[], of: (launch: LaunchTime) => number): number =>
  launches.reduce((sum, launch) => sum + of(launch), 0);

/** Launches of one kind, the costliest first. */
function rowsOf(launches: readonly LaunchTime[]): readonly Row[] {
  const ms = total(launches, (launch) => launch.ms);
  const kinds = new Map<string, LaunchTime[]>();
  for (const launch of launches) {
    const kind = `${isSparse(launch)} ${launch.label}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), launch]);
  }
  const rows = [...kinds.values()].map((all): Row => {
    const time = total(all, (launch) => launch.ms);
    return {
      label: all[0]?.label ?? "",
      sparse: all.some(isSparse),
      launches: all.length,
      ms: time,
      share: time / ms,
      gflops: total(all, ({ flops }) => flops) / time / 1e6,
      gigabytesPerSecond: total(all, ({ bytes }) => bytes) / time / 1e6,
    };
  });
  return rows.toSorted((a, b) => b.ms - a.ms);
}

/** The launches one after the other, which on the device they are. */
function inOrder(launches: readonly LaunchTime[]): Parameters<typeof drawFlame>[1] {
  let at = 0;
  return launches.map(({ scope, label, ms, flops }) => {
    const start = at;
    at += ms;
    const rate = flops > 0 ? `, ${(flops / ms / 1e6).toFixed(1)} GFLOP/s` : "";
    return { scope, label, start, end: at, detail: `${scope}/${label}${rate}` };
  });
}

const share = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;

function show({ model, device, images, ms, moe, rows, launches }: Profile): void {
  console.log(`${bold(model)}, ${images} image${images === 1 ? "" : "s"}, on ${device}`);
  const alone = total(launches, (launch) => launch.ms);
  console.log(`${ms.toFixed(3)} ms in ${launches.length} launches; ${alone.toFixed(3)} ms one by one:\n`);
  const cells = rows.map((row) => [
    row.sparse ? `${row.label} ${dim("(sparse)")}` : row.label,
    row.launches,
    row.ms.toFixed(3),
    `${(100 * row.share).toFixed(1)} %`,
    row.gflops > 0 ? row.gflops.toFixed(1) : "",
    row.gigabytesPerSecond.toFixed(2),
  ]);
  console.log(table([["launch", "times", "ms", "share", "GFLOP/s", "GB/s"], ...cells]));
  if (moe.ms === 0) return;
  console.log(
    `\nsparse layers take ${share(moe.ms, ms)} of the time; of theirs, the experts' products take ` +
      `${share(moe.experts, moe.ms)}, routing, dispatch and combination ${share(moe.ms - moe.experts, moe.ms)}`,
  );
}

/** `moec profile`. */
export const profileCommand: Command = inferring(new Command("profile"))
  .description(
    "show where a run's time goes: launch by launch, which on a GPU adds microseconds to each, and together; rates are " +
      "upper bounds where experts are not full",
  )
  .addOption(
    new Option("--repeat <n>", "runs, of which the median counts")
      .argParser(parseCount("--repeat", 1))
      .default(7),
  )
  .option("--svg <out.svg>", "a flame chart of the launches over time")
  .addHelpText(
    "after",
    examples(
      "profile vmoe-s32-last2-e8 --image photo.jpg --backend webgpu",
      "profile vmoe-s32-last2-e8 --image photo.jpg --backend webgpu --svg flame.svg",
    ),
  )
  .action((name: string, options: ProfileOptions) => profile(name, options));
