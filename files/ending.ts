/** What is left to do when the process is told to end, by Ctrl-C or otherwise. */

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Calls `act` before the process ends by a signal, until the function that is returned is called. */
export function beforeEnding(act: () => void): () => void {
  const end = (signal: NodeJS.Signals): void => {
    act();
    release();
    // The signal's own effect, now that nobody listens any more.
    process.kill(process.pid, signal);
  };
  const release = (): void => {
    for (const signal of signals) process.removeListener(signal, end);
  };
  for (const signal of signals) process.on(signal, end);
  return release;
}
