#!/usr/bin/env node
/** The command line: words and options to commands, and everything that can go wrong to one line. */
import { Command, CommanderError } from "commander";

import { packageVersion } from "../files/version.ts";
import { CompileError } from "../ir/index.ts";
import { examples, exitCodes } from "./options.ts";

/** The commands, each loaded where it is called, since all of them take longer than most have to do. */
const commands: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ["models", async () => (await import("./commands/models.ts")).modelsCommand],
  ["routers", async () => (await import("./commands/routers.ts")).routersCommand],
  ["inspect", async () => (await import("./commands/inspect.ts")).inspectCommand],
  ["run", async () => (await import("./commands/run.ts")).runCommand],
  ["route", async () => (await import("./commands/route.ts")).routeCommand],
  ["trace", async () => (await import("./commands/trace.ts")).traceCommand],
  ["plan", async () => (await import("./commands/plan.ts")).planCommand],
  ["profile", async () => (await import("./commands/profile.ts")).profileCommand],
  ["verify", async () => (await import("./commands/verify.ts")).verifyCommand],
  ["export", async () => (await import("./commands/export.ts")).exportCommand],
  ["compile", async () => (await import("./commands/compile.ts")).compileCommand],
  ["target", async () => (await import("./commands/target.ts")).targetCommand],
  ["tune", async () => (await import("./commands/tune.ts")).tuneCommand],
  ["upcycle", async () => (await import("./commands/upcycle.ts")).upcycleCommand],
  ["edit", async () => (await import("./commands/edit.ts")).editCommand],
  ["convert", async () => (await import("./commands/convert.ts")).convertCommand],
  ["diff", async () => (await import("./commands/diff.ts")).diffCommand],
  ["doctor", async () => (await import("./commands/doctor.ts")).doctorCommand],
]);

const program = new Command("moec")
  .description("Compile sparse Mixture-of-Experts vision models, and run them.")
  .version(packageVersion())
  .exitOverride()
  .configureOutput({ writeErr: () => undefined })
  .addHelpText(
    "after",
    examples(
      "models",
      "inspect vmoe-b16-every2 --text",
      "run vmoe-s32-last2-e8 --image photo.jpg",
      "route vmoe-s32-last2-e8 --image photo.jpg --svg routes.svg",
      "run config.json --weights checkpoint --input x.npy --output logits.npy",
      "verify vmoe-s32-last2-e8 --backends webgpu,onnx",
      "export vmoe-s32-last2-e8 --to onnx -o model.onnx",
      "compile vmoe-s32-last2-e8 --target minimum -o bundle",
    ),
  );

const called = commands.get(process.argv[2] ?? "");
for (const load of called ? [called] : commands.values()) {
  program.addCommand((await load()).exitOverride().configureOutput({ writeErr: () => undefined }));
}

/** What went wrong, as one line on stderr, and the exit code for it. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    console.error(
      error.message.startsWith("error: ")
        ? error.message.split("\n")[0]
        : "error: no such command; see moec --help",
    );
    return exitCodes.badInput;
  }
  if (error instanceof CompileError) {
    console.error(`error: ${error.message}`);
    return exitCodes.badInput;
  }
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof RangeError && /array.*(length|allocation failed)/i.test(message)) {
    console.error(`error: this needs more memory than there is: ${message}`);
    return exitCodes.badInput;
  }
  console.error(`error: unexpected: ${message.split("\n")[0]} (MOEC_DEBUG=1 shows where)`);
  if (process.env["MOEC_DEBUG"]) console.error(error);
  return exitCodes.internal;
}

process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => {
  // Who reads has enough, as `head` does.
  if (code === "EPIPE") process.exit();
  console.error(`error: the output: cannot be written (${code})`);
  process.exit(exitCodes.badInput);
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = explain(error);
}
// Dawn keeps the process alive while its objects are; what was printed must be out before it ends.
process.stdout.write("", () => setImmediate(() => process.exit()));
