/** Pictures of routing: each photograph, and over it where its patches went, block by block. */
import type { BlockRoutes, TokenGrid } from "../models/index.ts";

/** What is drawn. */
export interface RoutePicture {
  readonly title: string;
  /** A name and a data URI for each image, of the square that the model saw. */
  readonly images: readonly { readonly name: string; readonly uri: string }[];
  readonly grid: TokenGrid;
  readonly routes: readonly BlockRoutes[];
}

/** Sizes in user units, which are pixels where the picture is shown as it is. */
const side = 280;
const gap = 24;
const margin = 32;
const line = 18;
const barHeight = 10;

/** Text as it stands in a document. */
export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** Hues by the golden ratio, so that neighbours lie apart; light and dark in turns. */
const colourOf = (expert: number): string =>
  `hsl(${((expert * 222.4922) % 360).toFixed(1)} 75% ${[48, 62, 38][Math.floor(expert / 8) % 3]}%)`;

interface Attributes {
  readonly [name: string]: string | number;
}

/** An element; numbers are rounded to hundredths, text is escaped. */
export function tag(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const list = Object.entries(attributes).map(([key, value]) => {
    const shown = typeof value === "number" ? String(Math.round(value * 100) / 100) : escaped(value);
    return ` ${key}="${shown}"`;
  });
  return children.length === 0
    ? `<${name}${list.join("")}/>`
    : `<${name}${list.join("")}>${children.join("")}</${name}>`;
}

/** A line of text at a place. */
export const text = (x: number, y: number, content: string, attributes: Attributes = {}): string =>
  tag("text", { x, y, "font-size": 12, ...attributes }, escaped(content));

/** An SVG document of its own: one row an image, the photograph first, then each sparse block. */
export function drawPicture({ title, images, grid, routes }: RoutePicture): string {
  const most = Math.max(0, ...routes.map(({ experts }) => experts));
  const panel = line + side + line * 3 + most * (barHeight + 4);
  const width = 2 * margin + (1 + routes.length) * side + routes.length * gap;
  const height = 2 * margin + line + images.length * (panel + gap);
  const rows = images.map(({ name }, i) => {
    const y = margin + line + i * (panel + gap);
    const at = (column: number): string => `translate(${margin + column * (side + gap)} ${y})`;
    return [
      tag("g", { transform: at(0) }, text(0, 12, name), photograph(i)),
      ...routes.map((block, j) => tag("g", { transform: at(j + 1) }, mapOf(block, i, grid))),
    ].join("\n");
  });
  return [
    tag(
      "svg",
      {
        xmlns: "http://www.w3.org/2000/svg",
        width,
        height,
        viewBox: `0 0 ${width} ${height}`,
        "font-family": "system-ui, sans-serif",
      },
      "\n",
      tag("title", {}, escaped(title)),
      "\n",
      tag("defs", {}, hatch, ...images.map(({ uri }, i) => pixels(i, uri))),
      "\n",
      tag("rect", { width, height, fill: "white" }),
      "\n",
      text(margin, margin, title, { "font-size": 15, "font-weight": "bold" }),
      "\n",
      rows.join("\n"),
      "\n",
    ),
    "\n",
  ].join("");
}

/** What lies over a patch that no expert took. */
const hatch = tag(
  "pattern",
  { id: "dropped", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
  tag("rect", { width: 6, height: 6, fill: "black", "fill-opacity": 0.45 }),
  tag("rect", { width: 2, height: 6, fill: "white", "fill-opacity": 0.7 }),
);

/** A photograph's pixels, which the document holds once. */
const pixels = (image: number, uri: string): string =>
  tag("image", { id: `image${image}`, width: side, height: side, href: uri, preserveAspectRatio: "none" });

const photograph = (image: number): string => tag("use", { href: `#image${image}`, y: line });

/** One block's map of one image, with the loads of its experts below. */
function mapOf(block: BlockRoutes, image: number, { rows, columns, classToken }: TokenGrid): string {
  const { map, experts, groups, capacity, loads, dropped, choices } = block;
  const tokens = map[image] ?? [];
  const patches = classToken ? tokens.slice(1) : tokens;
  const [w, h] = [side / columns, side / rows];
  const cells = patches.map((expert, n) => {
    const at = { x: (n % columns) * w, y: line + Math.floor(n / columns) * h, width: w, height: h };
    const fill = expert < 0 ? { fill: "url(#dropped)" } : { fill: colourOf(expert), "fill-opacity": 0.6 };
    const what = expert < 0 ? "dropped" : `expert ${expert}`;
    return tag("rect", { ...at, ...fill, stroke: "white", "stroke-width": 0.5 }, tag("title", {}, what));
  });
  const share = ((100 * dropped) / Math.max(choices, 1)).toFixed(1);
  const first = tokens[0] ?? -1;
  const cls = classToken ? `class token: ${first < 0 ? "dropped" : `expert ${first}`}` : "";
  const below = line + side + 2 * line;
  const slots = groups * capacity;
  const labels = 26;
  const bars = Array.from({ length: experts }, (_, e) => {
    const y = below + line / 2 + e * (barHeight + 4);
    const load = loads[e] ?? 0;
    const full = side - labels - 60;
    return [
      text(labels - 6, y + barHeight - 1, String(e), { "text-anchor": "end", "font-size": 10 }),
      tag("rect", { x: labels, y, width: full, height: barHeight, fill: "#eee" }),
      tag("rect", {
        x: labels,
        y,
        width: (full * load) / Math.max(slots, 1),
        height: barHeight,
        fill: colourOf(e),
      }),
      text(side, y + barHeight - 1, `${load} of ${slots}`, { "text-anchor": "end", "font-size": 10 }),
    ].join("");
  });
  return [
    text(0, 12, block.block, { "font-weight": "bold" }),
    photograph(image),
    ...cells,
    text(0, below - line - 2, `dropped ${dropped} of ${choices} choices (${share} %)`, { "font-size": 10 }),
    text(0, below - 4, cls, { "font-size": 10 }),
    ...bars,
  ].join("\n");
}
