/** How the tokens of an image lie. */

/** How the tokens of one image lie: row by row, after the class token where there is one. */
export interface TokenGrid {
  readonly rows: number;
  readonly columns: number;
  readonly classToken: boolean;
}

/** Tokens of one image. */
export const tokensOf = ({ rows, columns, classToken }: TokenGrid): number =>
  rows * columns + (classToken ? 1 : 0);
