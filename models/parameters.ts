/** The parameters of a model under construction, named by the scopes in which they are made. */
import { CompileError, scope, scoped, type Shape, type Value, weight } from "../ir/index.ts";
import type { Init, Parameter } from "./init.ts";

/** Makes weights and remembers how each is initialised. */
export class Parameters {
  readonly #made = new Map<string, Parameter>();

  /** The weight `name` of the current scope, such as `Encoder/encoderblock_0/Mlp/Dense_0/kernel`. */
  weight(name: string, shape: Shape, init: Init, stored?: Parameter["stored"]): Value {
    return this.#make(name, { shape, init, trained: true, ...(stored && { stored }) });
  }

  /** A weight that is a function of the configuration and stands in no checkpoint. */
  table(name: string, shape: Shape, init: Init): Value {
    return this.#make(name, { shape, init, trained: false });
  }

  get all(): readonly Parameter[] {
    return [...this.#made.values()];
  }

  #make(local: string, parameter: Omit<Parameter, "name">): Value {
    const name = scoped(local, scope);
    if (this.#made.has(name)) throw new CompileError("M5", name, "is made twice");
    this.#made.set(name, { name, ...parameter });
    return weight(name, { dtype: "f32", shape: parameter.shape });
  }
}
