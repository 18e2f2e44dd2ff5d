/** What people see: tables, bars, and pictures of routing in colour. */
import type { BlockRoutes, TokenGrid } from "../models/index.ts";

const colours = process.stdout.isTTY && !process.env["NO_COLOR"];

/** A colour of the 256-colour cube for expert `e`: hues by the golden ratio, so that neighbours lie apart. */
function colourOf(e: number): number {
  const hue = ((e * 0.618034) % 1) * 6;
  const [low, high] = [[0, 5] as const, [2, 5] as const, [0, 3] as const][Math.floor(e / 8) % 3] ?? [0, 5];
  const channel = (offset: number): number => {
    const share = Math.min(Math.max(Math.abs(((hue + offset) % 6) - 3) - 1, 0), 1);
    return Math.round(low + (high - low) * share);
  };
  return 16 + 36 * channel(0) + 6 * channel(4) + channel(2);
}

const paint = (text: string, code: string): string => (colours ? `\u001B[${code}m${text}\u001B[0m` : text);
export const dim = (text: string): string => paint(text, "2");
export const bold = (text: string): string => paint(text, "1");

/** Bytes as people read them. */
export const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** One character for an expert: 0-9, a-z, A-Z, then +. */
const letter = (e: number): string =>
  "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[e] ?? "+";

const cell = (e: number): string =>
  e < 0 ? dim("· ") : paint(`${letter(e)} `, `38;5;16;48;5;${colourOf(e)}`);

const barWidth = 24;

const share = (part: number, all: number): string => `(${((100 * part) / all).toFixed(1)} %)`;

/** The map of one image's patches beside the experts' loads. */
export function drawRoutes(routes: BlockRoutes, image: number, { columns, classToken }: TokenGrid): string {
  const { block, experts, groups, capacity, loads, dropped, choices, unserved, map } = routes;
  const tokens = map[image] ?? [];
  const patches = classToken ? tokens.slice(1) : tokens;
  const rows: string[] = [];
  for (let start = 0; start < patches.length; start += columns) {
    rows.push(
      patches
        .slice(start, start + columns)
        .map((e) => cell(e))
        .join(""),
    );
  }
  if (classToken) rows.push("", `class token ${cell(tokens[0] ?? -1)}`);
  const slots = groups * capacity;
  const bars = loads.map((load, e) => {
    const filled = Math.round((barWidth * load) / slots);
    return `${cell(e)} ${"█".repeat(filled)}${dim("░".repeat(barWidth - filled))} ${load} of ${slots}`;
  });
  const blank = " ".repeat(2 * columns);
  const height = Math.max(rows.length, bars.length);
  const lines = Array.from({ length: height }, (_, i) => {
    const left = rows[i] ?? blank;
    const padding = i * columns < patches.length ? "" : " ".repeat(Math.max(0, 2 * columns - visible(left)));
    return `  ${left}${padding}   ${bars[i] ?? ""}`.trimEnd();
  });
  const all = map.flat().length;
  const lost =
    choices > 0
      ? `dropped ${dropped} of ${choices} choices ${share(dropped, choices)}`
      : `${unserved} of ${all} tokens unserved ${share(unserved, all)}`;
  return [`${bold(block)}  ${experts} experts, capacity ${capacity}, ${lost}`, ...lines].join("\n");
}

/** Characters of `text` that take a place on the terminal. */
// oxlint-disable-next-line no-control-regex -- escape sequences are what is measured
const visible = (text: string): number => text.replace(/\u001B\[[0-9;]*m/g, "").length;

/** Rows as columns of equal width; the first row is the head, numbers stand to the right. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => String(row[column] ?? "").length)),
  );
  return rows
    .map((row, r) => {
      const cells = row.map((value, column) => {
        const width = widths[column] ?? 0;
        return typeof value === "number" || (r === 0 && typeof rows[1]?.[column] === "number")
          ? String(value).padStart(width)
          : value.padEnd(width);
      });
      const line = cells.join("  ").trimEnd();
      return r === 0 ? bold(line) : line;
    })
    .join("\n");
}

/** How weights are stored, where that is not as float32: `, float16, experts int8`. */
export const storedAs = ({ precision = "single", quantizeExperts }: Storage): string =>
  [precision === "single" ? "" : ", float16", quantizeExperts ? `, experts ${quantizeExperts}` : ""].join("");

interface Storage {
  readonly precision?: string;
  readonly quantizeExperts?: string;
}
