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

/** What `act` must throw, in one line that has `named` in it. */
export function expectRefusal(act: () => unknown, named: string): void {
  let thrown: unknown;
  try {
    act();
  } catch (error) {
    thrown = error;
  }
  expect(expectOneLine(thrown).message).toContain(named);
}
