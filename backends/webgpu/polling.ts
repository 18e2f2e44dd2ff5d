/** How often Dawn, in Node, asks a driver whether its work is done. */

/** Milliseconds between two questions. */
const pause = 1;

/** What Dawn hands over to be called at the event loop's next turn: native code without a name. */
const isQuestion = (callback: Function): boolean =>
  callback.name === "" && Function.prototype.toString.call(callback).includes("[native code]");

/**
 * Lets Dawn ask once a millisecond, rather than at each turn of the event loop, which so never sleeps. A driver that
 * computes on the host's cores has these to itself then: on two, a program takes 0.6 of the time, docs/decisions/0018.
 */
export function pollSparingly(global: Pick<typeof globalThis, "setImmediate" | "setTimeout">): void {
  const { setImmediate, setTimeout } = global;
  const sparingly = (callback: (...given: unknown[]) => void, ...given: unknown[]): unknown =>
    isQuestion(callback) ? setTimeout(callback, pause) : setImmediate(callback, ...given);
  // With what is said of it elsewhere, such as how it is promisified.
  global.setImmediate = Object.assign<typeof sparingly, typeof setImmediate>(sparingly, setImmediate);
}
