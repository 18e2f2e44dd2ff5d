/** Charts of curves as SVG documents. */
import { tag, text } from "./svg.ts";

/** One line of a chart. */
export interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Chart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly curves: readonly Curve[];
}

/** Sizes in user units, which are pixels where the picture is shown as it is. */
const [width, height, margin, legend, letter] = [560, 320, 56, 18, 7] as const;

/** Steps of 1, 2 or 5 times a power of ten, about `count` of them up to `most`. */
function ticks(most: number, count: number): number[] {
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, i) => i * step);
}

/** Hues by the golden ratio, so that neighbours lie apart. */
const colour = (i: number): string => `hsl(${((i * 222.4922) % 360).toFixed(1)} 70% 42%)`;

/** The curves over axes that start at 0, each in a colour of its own; an SVG document. */
export function drawChart({ title, x, y, curves }: Chart): string {
  const points = curves.flatMap((curve) => curve.points);
  const [mostX, mostY] = [0, 1].map((axis) => Math.max(1e-9, ...points.map((point) => point[axis] ?? 0))) as [
    number,
    number,
  ];
  const across = (value: number): number => margin + (value / mostX) * (width - 2 * margin);
  const down = (value: number): number => height - margin - (value / mostY) * (height - 2 * margin);
  const axes = [
    ...ticks(mostX, 8).map((value) =>
      [
        tag("line", { x1: across(value), x2: across(value), y1: down(0), y2: down(mostY), stroke: "#eee" }),
        text(across(value), height - margin + 16, shown(value), { "text-anchor": "middle", "font-size": 10 }),
      ].join(""),
    ),
    ...ticks(mostY, 5).map((value) =>
      [
        tag("line", { x1: across(0), x2: across(mostX), y1: down(value), y2: down(value), stroke: "#eee" }),
        text(margin - 6, down(value) + 3, shown(value), { "text-anchor": "end", "font-size": 10 }),
      ].join(""),
    ),
  ];
  const lines = curves.map(({ name, points: own }, i) =>
    [
      tag("polyline", {
        points: own.map(([a, b]) => `${across(a).toFixed(1)},${down(b).toFixed(1)}`).join(" "),
        fill: "none",
        stroke: colour(i),
        "stroke-width": 1.5,
      }),
      text(width + 8, margin + i * legend, name, { fill: colour(i) }),
    ].join("\n"),
  );
  const longest = Math.max(0, ...curves.map(({ name }) => name.length));
  const frame = {
    width: width + margin + letter * longest,
    height: Math.max(height, margin + (curves.length + 1) * legend),
  };
  return [
    tag(
      "svg",
      {
        xmlns: "http://www.w3.org/2000/svg",
        ...frame,
        viewBox: `0 0 ${frame.width} ${frame.height}`,
        "font-family": "system-ui, sans-serif",
      },
      "\n",
      tag("rect", { ...frame, fill: "white" }),
      "\n",
      text(margin, margin / 2, title, { "font-size": 15, "font-weight": "bold" }),
      "\n",
      ...axes,
      "\n",
      text(width / 2, height - margin / 3, x, { "text-anchor": "middle" }),
      text(0, 0, y, {
        "text-anchor": "middle",
        transform: `translate(14 ${height / 2}) rotate(-90)`,
      }),
      "\n",
      lines.join("\n"),
      "\n",
    ),
    "\n",
  ].join("");
}

const shown = (value: number): string => String(Math.round(value * 1e6) / 1e6);
