/** Errors are one line, whatever the names that they speak of. */
import fc from "fast-check";
import { test } from "vitest";

import { CompileError } from "../../ir/index.ts";
import { expectOneLine } from "../support/errors.ts";

const anyText = fc.string({ unit: "binary", minLength: 1 });

test("subjects and messages of any characters are one line", () => {
  fc.assert(
    fc.property(anyText, anyText, (subject, message) => {
      expectOneLine(new CompileError("W1", subject, message));
    }),
    {
      examples: [
        ["file", "expected the chunks of leaf \nmsgpack"],
        ["a\r\u2028", "b\u2029"],
      ],
    },
  );
});
