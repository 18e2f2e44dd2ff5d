/** The one error class of the compiler. */

/** Characters that end a line or command a terminal; names that come from files may hold any. */
const breaking = /[\p{Cc}\p{Zl}\p{Zp}]/gu;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/**
 * A program, a configuration or a file that breaks a stated rule.
 *
 * Shown to users as one line, whatever the names in it: `subject: what must hold; got the facts [code]`.
 * Codes are stable: `C0` signature, `C1..` an op's own constraints, `V*` verifier, `P*` parser, `R*` rewriting,
 * `L*` legalize, `M*` model configuration, `W*` weights and files, `B*` backends, `O*` ONNX,
 * `U*` use of the command line.
 */
export class CompileError extends Error {
  readonly code: string;
  readonly subject: string;

  constructor(code: string, subject: string, message: string) {
    super(`${subject}: ${message} [${code}]`.replace(breaking, escaped));
    this.name = "CompileError";
    this.code = code;
    this.subject = subject;
  }
}
