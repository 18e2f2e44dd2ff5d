/** `moec routers`: the routers that a configuration may name, and how each decides. */
import { routersWith } from "../../models/index.ts";
import { loadRouters } from "../plugins.ts";
import { bold } from "../terminal.ts";

export interface RoutersOptions {
  readonly plugin: readonly string[];
  readonly json?: boolean;
}

export async function routers({ plugin, json }: RoutersOptions): Promise<void> {
  const all = [...routersWith(await loadRouters(plugin)).values()].map(
    ({ name, summary, contract, source, keys }) => ({ name, summary, contract, source, keys }),
  );
  if (json) {
    console.log(JSON.stringify(all));
    return;
  }
  const blocks = all.map(({ name, summary, contract, source, keys }) => {
    const facts = Object.entries({ ...contract, keys: keys.join(", "), ...(source && { source }) });
    return [bold(name), summary, ...facts.map(([fact, value]) => `${fact.padEnd(10)}${value}`)].join("\n  ");
  });
  console.log(blocks.join("\n\n"));
}
