/** `moec routers`: the routers that a configuration may name, and how each decides. */
import { Command } from "commander";

import { routersWith } from "../../models/index.ts";
import { examples, jsonOption, pluginOption } from "../options.ts";
import { loadRouters } from "../plugins.ts";
import { bold } from "../terminal.ts";

interface RoutersOptions {
  readonly plugin: readonly string[];
  readonly json?: boolean;
}

async function routers({ plugin, json }: RoutersOptions): Promise<void> {
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

/** `moec routers`. */
export const routersCommand: Command = new Command("routers")
  .description("list the routers, and how each decides")
  .addOption(pluginOption())
  .addOption(jsonOption())
  .addHelpText("after", examples("routers", "routers --plugin my-router.ts --json | jq '.[].name'"))
  .action((options: RoutersOptions) => routers(options));
