/** What is wrong with a file, in one line of a length that a person reads. */
import { CompileError } from "../../../ir/index.ts";

/** O3: the file is broken, or no ONNX model. O4: it holds what is not read here. */
export type ProblemCode = "O3" | "O4";

/** Names and lists come from the file, and may be as long as it is. */
const mostCharacters = 500;

/** Sizes or axes as errors show them. */
export const listed = (numbers: readonly number[]): string => `[${numbers.join(", ")}]`;

/** The error that says `message` of `file`. */
export function problem(file: string, message: string, code: ProblemCode = "O3"): CompileError {
  const short = message.length > mostCharacters ? `${message.slice(0, mostCharacters)} ...` : message;
  return new CompileError(code, file, short);
}
