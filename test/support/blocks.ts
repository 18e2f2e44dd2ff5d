/** The fenced blocks of a document. */

export interface Block {
  readonly language: string;
  /** The file that the block is, or changes. */
  readonly file: string | undefined;
  readonly text: string;
}

export const blocksOf = (text: string): Block[] =>
  [...text.matchAll(/^```(\w+)(?: file=(\S+))?\n([\s\S]*?)^```$/gm)].map(
    ([, language = "", file, body = ""]) => ({
      language,
      file,
      text: body,
    }),
  );
