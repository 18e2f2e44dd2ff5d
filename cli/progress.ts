/** Progress of long work, on terminals only. */
import { SingleBar } from "cli-progress";

/** Shows `done` from 0 to 1 with what is being done; quiet where stderr is no terminal. */
export interface Progress {
  readonly show: (done: number, what: string) => void;
  readonly stop: () => void;
}

/** A bar appears only when the work takes longer than this. */
const patienceMs = 300;

export function progressBar(quiet: boolean): Progress {
  if (quiet || !process.stderr.isTTY) return { show: () => undefined, stop: () => undefined };
  const bar = new SingleBar({
    format: "{bar} {percentage} % {what}",
    clearOnComplete: true,
    hideCursor: true,
  });
  const started = performance.now();
  let shown = false;
  return {
    show(done, what) {
      if (!shown && performance.now() - started < patienceMs) return;
      if (!shown) bar.start(100, 0, { what });
      shown = true;
      bar.update(Math.round(100 * done), { what });
    },
    stop: () => (shown ? bar.stop() : undefined),
  };
}
