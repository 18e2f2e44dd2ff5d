/** Progress of long work, on terminals only. */
import { SingleBar } from "cli-progress";

import { beforeEnding } from "../files/ending.ts";

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
  // A bar hides the cursor and cuts long lines; what is printed after it must not.
  let stop: (() => void) | undefined;
  return {
    show(done, what) {
      if (!stop && performance.now() - started < patienceMs) return;
      if (!stop) {
        bar.start(100, 0, { what });
        const release = beforeEnding(() => bar.stop());
        stop = () => {
          release();
          bar.stop();
        };
      }
      bar.update(Math.round(100 * done), { what });
    },
    stop: () => stop?.(),
  };
}
