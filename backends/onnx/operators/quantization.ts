/** Ops on small integers, which files hold as such. */
import { ops, type Value } from "../../../ir/index.ts";
import { operator, type Operator } from "../operator.ts";
import { entryTensor, integersTensor } from "../weights.ts";

export const dequantize: Operator = operator(
  ops.dequantize,
  ({ scales }, { bits, rows, F, block }, { body, node, derived }) => {
    const integers = derived(integersTensor(node.operands[0] as Value, { bits, rows, F }));
    return body.call("DequantizeLinear", [integers, scales], {
      axis: { int: 1 },
      block_size: { int: block },
    });
  },
  {
    since: 21,
    // No op takes words that are computed apart.
    takes: ({ operands: [words] }) => words?.leaf?.kind === "weight",
    entry(e, { bits, rows, F, block }, { body, node, derived }) {
      const [words, scales] = node.operands as readonly [Value, Value];
      const parts = [integersTensor(words, { bits, rows, F }, e), entryTensor(scales, e)];
      return body.call("DequantizeLinear", parts.map(derived), {
        axis: { int: 0 },
        block_size: { int: block },
      });
    },
  },
);
