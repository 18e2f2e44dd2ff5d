/** Flame charts: the launches of a run over time, below the scopes that they stand in, as SVG documents. */
import { escaped, tag, text } from "./svg.ts";

/** A stretch of time in a scope; times in milliseconds. */
export interface Span {
  /** Such as `Encoder/encoderblock_5/Moe`. */
  readonly scope: string;
  readonly label: string;
  readonly start: number;
  readonly end: number;
  /** What is shown when the pointer rests on it. */
  readonly detail: string;
}

/** Sizes in user units, which are pixels where the picture is shown as it is. */
const [width, rowHeight, margin, letter] = [1400, 18, 24, 6.2] as const;

/** A box of the chart. */
interface Box {
  readonly name: string;
  readonly depth: number;
  readonly start: number;
  end: number;
  detail: string;
}

/** Boxes for every scope and launch, in order of time; neighbours in one scope share its box. */
function boxesOf(spans: readonly Span[]): Box[] {
  const boxes: Box[] = [];
  let open: Box[] = [];
  for (const { scope, label, start, end, detail } of spans) {
    const path = scope ? scope.split("/") : [];
    const shared = open.findIndex((box, depth) => box.name !== path[depth]);
    open = open.slice(0, shared < 0 ? Math.min(open.length, path.length) : shared);
    for (let depth = open.length; depth < path.length; depth++) {
      const box = { name: path[depth] ?? "", depth, start, end, detail: path.slice(0, depth + 1).join("/") };
      boxes.push(box);
      open.push(box);
    }
    for (const box of open) box.end = end;
    boxes.push({ name: label, depth: path.length, start, end, detail });
  }
  return boxes;
}

/** A hue for a name, the same in every chart. */
function colour(name: string): string {
  let hash = 0;
  for (const character of name.replace(/\d+$/, ""))
    hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 3600;
  return `hsl(${(hash * 0.1).toFixed(0)} 65% 72%)`;
}

/** An SVG document of the spans, which follow each other in time. */
export function drawFlame(title: string, spans: readonly Span[]): string {
  const boxes = boxesOf(spans);
  const whole = Math.max(1e-9, ...spans.map(({ end }) => end));
  const scale = (width - 2 * margin) / whole;
  const depth = Math.max(0, ...boxes.map((box) => box.depth)) + 1;
  const height = 2 * margin + 24 + depth * (rowHeight + 1);
  const drawn = boxes.map((box) => {
    const [x, w] = [margin + box.start * scale, Math.max(0.3, (box.end - box.start) * scale)];
    const y = margin + 24 + box.depth * (rowHeight + 1);
    const room = Math.floor((w - 6) / letter);
    const shown = box.name.length <= room ? box.name : room > 3 ? `${box.name.slice(0, room - 1)}…` : "";
    return tag(
      "g",
      {},
      tag(
        "rect",
        { x, y, width: w, height: rowHeight, fill: colour(box.name), rx: 2 },
        tag("title", {}, escaped(`${box.detail}: ${(box.end - box.start).toFixed(3)} ms`)),
      ),
      ...(shown ? [text(x + 3, y + rowHeight - 5, shown, { "font-size": 11 })] : []),
    );
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
      tag("rect", { width, height, fill: "white" }),
      "\n",
      text(margin, margin, `${title}: ${whole.toFixed(2)} ms`, { "font-size": 15, "font-weight": "bold" }),
      "\n",
      drawn.join("\n"),
      "\n",
    ),
    "\n",
  ].join("");
}
