/** Images to tokens. */
import { defineOp, type Op } from "../op.ts";
import { each } from "../tensor.ts";
import { reshape, slice, transpose } from "./movement.ts";

const signature = "image: any[B, Y, X, I]; height, width -> patches: any[B, N, L]";

export const patchify: Op<typeof signature> = defineOp({
  name: "patchify",
  summary:
    "Each patch of height x width pixels as one row of L = height * width * I numbers, patches row by row; pixels beyond the last whole patch are left out.",
  source: "Dosovitskiy et al. 2021, arXiv 2010.11929, section 3.1; a VALID convolution's windows",
  signature,
  where: {
    C1: [
      "1 <= height <= Y, 1 <= width <= X",
      ({ height, width, Y, X }) => 1 <= height && height <= Y && 1 <= width && width <= X,
    ],
  },
  derive: ({ Y, X, I, height, width }) => ({
    N: Math.floor(Y / height) * Math.floor(X / width),
    L: height * width * I,
  }),
  sample: ({ Y, X }, pick) => ({ height: 1 + pick(Y), width: 1 + pick(X) }),
  evaluate({ image }, { B, Y, X, I, height, width, N, L }) {
    const pixels = image.numbers();
    const across = Math.floor(X / width);
    const patches = each([B, N, L], (b, n, l) => {
      const y = Math.floor(n / across) * height + Math.floor(l / (width * I));
      const x = (n % across) * width + (Math.floor(l / I) % width);
      return pixels[((b * Y + y) * X + x) * I + (l % I)] as number;
    });
    return { patches };
  },
  decompose({ image }, { B, Y, X, I, height, width, N, L }) {
    const [down, across] = [Math.floor(Y / height), Math.floor(X / width)];
    const whole = slice(image, { start: [0, 0, 0, 0], limit: [B, down * height, across * width, I] });
    const cells = reshape(whole, { shape: [B, down, height, across, width, I] });
    return { patches: reshape(transpose(cells, { perm: [0, 1, 3, 2, 4, 5] }), { shape: [B, N, L] }) };
  },
});
