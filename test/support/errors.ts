/** What users see when something is wrong. */
import { expect } from "vitest";

import { CompileError } from "../../ir/index.ts";

/** `error` as the error of one line that every bad input must give. */
export function expectOneLine(error: unknown): CompileError {
  expect(error).toBeInstanceOf(CompileError);
  const { message } = error as CompileError;
  expect(message).toMatch(/^.+: .+ \[[A-Z]\d+\]$/);
  return error as CompileError;
}
