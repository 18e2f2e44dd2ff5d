/** What a run found, as data and as people see it. */
import type { ClassScore } from "../inference/result.ts";
import { type BlockRoutes, byMember, type Model } from "../models/index.ts";
import { bold, dim, drawRoutes, table } from "./terminal.ts";

/** One class of an image's best, with its name where classes have some. */
export interface NamedScore extends ClassScore {
  readonly label?: string;
}

/** What is known of a run before it begins. */
export interface RunHead {
  readonly model: string;
  readonly weights: string;
  /** The image size that the weights were made for, where their positions were resized to another. */
  readonly resizedFrom: readonly [number, number] | null;
  readonly backend: string;
  readonly device: string;
  readonly reason: string;
}

/** What a run found, as `--json` prints it. */
export interface RunReport extends RunHead {
  /** What the rows are of: the paths of photographs, or places in an array. */
  readonly images: readonly string[];
  readonly top5: readonly (readonly NamedScore[])[];
  readonly routes: readonly BlockRoutes[];
  /** Images of a run. */
  readonly batch: number;
  /**
   * Of compiling, of the first batch, of a batch repeated, of the host to encode and submit a batch, and of all batches.
   */
  readonly milliseconds: Readonly<Record<"compile" | "first" | "all", number>> & {
    readonly warm: number | null;
    readonly host: number | null;
  };
  /** Whether all runs of `--repeat` gave the same bits. */
  readonly identical: boolean | null;
  readonly launches: number | null;
  readonly launchesPerMoeLayer: Readonly<Record<string, number>> | null;
  readonly submits: number | null;
  readonly readbacks: number | null;
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

/** What is run, on what. */
export function showHead({ model, backend, device, reason, weights, resizedFrom }: RunHead): void {
  console.log(`${bold(model)} on ${backend}: ${device} ${dim(`(${reason})`)}`);
  const random = weights.startsWith("random");
  console.log(`weights: ${weights}${random ? ": untrained, so the classes below carry no information" : ""}`);
  if (resizedFrom) console.log(`position embeddings resized: they are of ${resizedFrom.join(" x ")} pixels`);
}

/** One line for one image of many. */
export const showLine = (image: string, [best]: readonly NamedScore[]): void =>
  console.log(best ? `${image}: ${best.class} ${best.label ?? ""} ${dim(percent(best.probability))}` : image);

/** How long it took. */
export function showTimes({ milliseconds: ms, identical, images, batch }: RunReport): void {
  const warm =
    ms.warm === null
      ? ""
      : `, then ${ms.warm} ms (median), ${identical ? "the same bits" : "OTHER BITS"} every time`;
  const host = ms.host === null ? "" : `; ${ms.host} ms to encode and submit`;
  const all = images.length > batch ? `, ${images.length} images in ${ms.all} ms, ${batch} at a time` : "";
  console.log(`compiled in ${ms.compile} ms, first run ${ms.first} ms${warm}${host}${all}`);
}

/** Prints, for people, the top classes and a map of patches to experts for each sparse block, image by image. */
export function showImages({ grid }: Model, { top5, images, routes }: RunReport): void {
  for (const [i, classes] of top5.entries()) {
    console.log(`\n${bold(images[i] ?? "")}`);
    const labelled = classes.some(({ label }) => label !== undefined);
    const rows = classes.map(({ class: index, label, logit, probability }) => [
      index,
      ...(labelled ? [label ?? ""] : []),
      logit.toFixed(4),
      percent(probability),
    ]);
    console.log(table([["class", ...(labelled ? ["name"] : []), "logit", "softmax"], ...rows]));
    for (const block of byMember(routes, images.length)) console.log(`\n${drawRoutes(block, i, grid)}`);
  }
}

/** Prints what became of the tokens of many images. */
export function showLoads(routes: readonly BlockRoutes[]): void {
  if (routes.length === 0) return;
  const rows = routes.map(({ block, experts, capacity, dropRate, loadEntropy, unserved }) => [
    block,
    experts,
    capacity,
    percent(dropRate),
    loadEntropy.toFixed(3),
    unserved,
  ]);
  console.log(
    table([["sparse block", "experts", "capacity", "dropped", "entropy of loads", "unserved"], ...rows]),
  );
}

/** Prints where the patches of each image went. */
export function showRoutes({ grid }: Model, images: readonly string[], routes: readonly BlockRoutes[]): void {
  for (const [i, image] of images.entries()) {
    const maps = byMember(routes, images.length).map((block) => drawRoutes(block, i, grid));
    console.log([bold(image), ...maps].join("\n\n"));
  }
}

const quoted = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** The first line of `--csv`. */
export const csvHead = "image,rank,class,label,logit,probability";

/** An image as `--csv` prints it, a line for each of its best classes. Source: RFC 4180. */
export const csvLines = (image: string, scores: readonly NamedScore[]): string =>
  scores
    .map(({ class: index, label = "", logit, probability }, i) =>
      [quoted(image), i + 1, index, quoted(label), logit, probability].join(","),
    )
    .join("\n");
