#!/usr/bin/env node
/** The command line: words and options to commands, and everything that can go wrong to one line. */
import { Command, CommanderError } from "commander";

import { packageVersion } from "../files/version.ts";
import { CompileError } from "../ir/index.ts";
import { compileCommand } from "./commands/compile.ts";
import { convertCommand } from "./commands/convert.ts";
import { diffCommand } from "./commands/diff.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { editCommand } from "./commands/edit.ts";
import { exportCommand } from "./commands/export.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { modelsCommand } from "./commands/models.ts";
import { planCommand } from "./commands/plan.ts";
import { profileCommand } from "./commands/profile.ts";
import { routeCommand } from "./commands/route.ts";
import { routersCommand } from "./commands/routers.ts";
import { runCommand } from "./commands/run.ts";
import { targetCommand } from "./commands/target.ts";
import { traceCommand } from "./commands/trace.ts";
import { tuneCommand } from "./commands/tune.ts";
import { upcycleCommand } from "./commands/upcycle.ts";
import { verifyCommand } from "./commands/verify.ts";
import { examples, exitCodes } from "./options.ts";

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

for (const command of [
  modelsCommand,
  routersCommand,
  inspectCommand,
  runCommand,
  routeCommand,
  traceCommand,
  planCommand,
  profileCommand,
  verifyCommand,
  exportCommand,
  compileCommand,
  targetCommand,
  tuneCommand,
  upcycleCommand,
  editCommand,
  convertCommand,
  diffCommand,
  doctorCommand,
]) {
  program.addCommand(command.exitOverride().configureOutput({ writeErr: () => undefined }));
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
