/** A model's message, checked: its graph, its functions, and which version of the ops it is written in. */
import type { ByteSource } from "../../../files/bytes.ts";
import { decodeModel, type FunctionProto, type GraphProto, type ModelProto, numberOf } from "../proto.ts";
import { problem } from "./problem.ts";

/** Versions of the standard ops that are read: those that are written. */
const opsets = [18, 26] as const;
/** Versions of the file format. */
const formats = [3, 13] as const;
/** Versions of moec's own functions. */
const routines = [1, 1] as const;
/** No message of protobuf is longer. */
const messageBytes = 2 ** 31 - 1;

export interface Model {
  /** What errors call the file. */
  readonly file: string;
  readonly graph: GraphProto;
  /** Functions by domain and name, see `functionKey`. */
  readonly functions: ReadonlyMap<string, FunctionProto>;
  readonly opset: number;
  readonly metadata: ReadonlyMap<string, string>;
}

/** The standard ops' domain has two names. */
export const domainOf = (domain: string | null | undefined): string =>
  domain === "ai.onnx" ? "" : (domain ?? "");

export const functionKey = (domain: string | null | undefined, name: string | null | undefined): string =>
  [domainOf(domain), name].filter(Boolean).join(".");

/** The model in `source`. Throws O3 where the file is none, O4 where it is of a version that is not read. */
export async function readModel(source: ByteSource): Promise<Model> {
  const { name: file, size } = source;
  if (size > messageBytes) throw problem(file, `is not an ONNX model: it has ${size} bytes`);
  const proto = decoded(file, await source.read(0, size));
  const { graph } = proto;
  const version = numberOf(proto.irVersion);
  if (!graph || !version) {
    throw problem(file, `is not an ONNX model: it has no ${graph ? "version" : "graph"}`);
  }
  within(file, "the format", version, formats);
  const opset = opsetOf(file, proto.opsetImport);
  const own = proto.opsetImport?.find(({ domain }) => domain === "moec");
  if (own) within(file, "moec's functions", numberOf(own.version) ?? 0, routines);
  if ((graph.sparseInitializer ?? []).length > 0) {
    throw problem(file, "has sparse tensors, which are not read", "O4");
  }
  const functions = (proto.functions ?? []).map(
    (each) => [functionKey(each.domain, each.name), each] as const,
  );
  const metadata = (proto.metadataProps ?? []).map(({ key, value }) => [key ?? "", value ?? ""] as const);
  return { file, graph, functions: new Map(functions), opset, metadata: new Map(metadata) };
}

function decoded(file: string, bytes: Uint8Array): ModelProto {
  try {
    return decodeModel(bytes);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw problem(file, `is not an ONNX model: ${reason}`);
  }
}

/** The version of the standard ops among `imports`. Throws O3 without one, O4 for one that is not read. */
export function opsetOf(file: string, imports: ModelProto["opsetImport"]): number {
  const standard = (imports ?? []).find(({ domain }) => domainOf(domain) === "");
  const version = numberOf(standard?.version);
  if (!standard || version === undefined) throw problem(file, "does not say which opset it is written in");
  return within(file, "opset", version, opsets);
}

function within(
  file: string,
  what: string,
  version: number,
  [least, most]: readonly [number, number],
): number {
  if (least <= version && version <= most) return version;
  throw problem(file, `is of version ${version} of ${what}; ${least} to ${most} are read`, "O4");
}
