/** What a run found, as data and as people see it. */
import type { Tensor } from "../ir/index.ts";
import { type BlockRoutes, byMember, type Model } from "../models/index.ts";
import { bold, dim, drawRoutes, table } from "./terminal.ts";

const top = 5;

/** One class of an image's best. */
interface ClassScore {
  readonly class: number;
  readonly logit: number;
  readonly probability: number;
}

/** What a run found, as `--json` prints it. */
export interface RunReport {
  readonly model: string;
  readonly weights: string;
  readonly backend: string;
  readonly device: string;
  readonly reason: string;
  /** What the rows are of: the paths of photographs, or places in an array. */
  readonly images: readonly string[];
  readonly top5: readonly (readonly ClassScore[])[];
  readonly routes: readonly BlockRoutes[];
  readonly milliseconds: { readonly compile: number; readonly first: number; readonly warm: number | null };
  /** Whether all runs of `--repeat` gave the same bits. */
  readonly identical: boolean | null;
  readonly launches: number | null;
  readonly launchesPerMoeLayer: Readonly<Record<string, number>> | null;
  readonly submits: number | null;
  readonly readbacks: number | null;
}

/** The classes of largest logit of each image, with their softmax. */
export function topClasses(logits: Tensor): RunReport["top5"] {
  const [images = 1, classes = 1] = logits.type.shape;
  const all = logits.numbers();
  return Array.from({ length: images }, (_, i) => {
    const row = Array.from(all.subarray(i * classes, (i + 1) * classes));
    const largest = row.reduce((a, b) => Math.max(a, b));
    const total = row.reduce((sum, v) => sum + Math.exp(v - largest), 0);
    const order = [...row.keys()].toSorted((a, b) => (row[b] as number) - (row[a] as number)).slice(0, top);
    return order.map((index) => {
      const logit = row[index] as number;
      return { class: index, logit, probability: Math.exp(logit - largest) / total };
    });
  });
}

/** Prints a report for people: top classes, and a map of patches to experts for each sparse block. */
export function showReport({ grid }: Model, report: RunReport): void {
  const { milliseconds: ms, weights } = report;
  console.log(`${bold(report.model)} on ${report.backend}: ${report.device} ${dim(`(${report.reason})`)}`);
  const random = weights.startsWith("random");
  console.log(`weights: ${weights}${random ? ": untrained, so the classes below carry no information" : ""}`);
  const warm =
    ms.warm === null
      ? ""
      : `, then ${ms.warm} ms (median), ${report.identical ? "the same bits" : "OTHER BITS"} every time`;
  console.log(`compiled in ${ms.compile} ms, first run ${ms.first} ms${warm}`);
  for (const [i, classes] of report.top5.entries()) {
    console.log(`\n${bold(report.images[i] ?? "")}`);
    const rows = classes.map(({ class: index, logit, probability }) => [
      index,
      logit.toFixed(4),
      `${(100 * probability).toFixed(2)} %`,
    ]);
    console.log(table([["class", "logit", "softmax"], ...rows]));
    for (const routes of byMember(report.routes, report.images.length)) {
      console.log(`\n${drawRoutes(routes, i, grid)}`);
    }
  }
}

/** Prints where the patches of each image went. */
export function showRoutes({ grid }: Model, images: readonly string[], routes: readonly BlockRoutes[]): void {
  for (const [i, image] of images.entries()) {
    const maps = byMember(routes, images.length).map((block) => drawRoutes(block, i, grid));
    console.log([bold(image), ...maps].join("\n\n"));
  }
}
