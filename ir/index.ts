/** The IR's public surface: what programs are and mean. */
export { CompileError } from "./error.ts";
export { type Environment, evaluate } from "./evaluate.ts";
export { Graph, type Rebuild, withOperands } from "./graph.ts";
export {
  type AnyOp,
  defineOp,
  input,
  inScope,
  type Leaf,
  leaf,
  type Node,
  type Op,
  type OpSpec,
  scope,
  scoped,
  type Trait,
  unknownType,
  type Value,
  weight,
} from "./op.ts";
export * as ops from "./ops/index.ts";
export { opset } from "./ops/opset.ts";
export { parse } from "./parse.ts";
export { print, printAttr, printNode } from "./print.ts";
export {
  type Attrs,
  type AttrValue,
  bindOperands,
  type Bound,
  classes,
  type Named,
  type Operands,
  parseSignature,
  type Results,
  type Signature,
  type Sizes,
  type Slot,
  typeOf,
} from "./signature.ts";
export { each, type Numbers, Tensor } from "./tensor.ts";
export {
  byteLength,
  bytesOf,
  type DType,
  dtypes,
  sameShape,
  sameType,
  type Shape,
  showType,
  sizeOf,
  stridesOf,
  type TensorType,
} from "./type.ts";
export { verify } from "./verify.ts";
export { readWeight, type WeightSource } from "./weights.ts";
