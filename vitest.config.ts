/** Settings of the tests: where they are, and that each file of them has a process of its own. */
import { defineConfig, type ViteUserConfig } from "vitest/config";

const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/build.ts"],
    setupFiles: ["test/support/setup.ts"],
    // Dawn keeps native state for the life of a process, so test files never share one.
    pool: "forks",
    maxWorkers: 2,
    // Mesa's software driver compiles kernels in two thirds of the time when it does not optimise them.
    env: { GALLIVM_PERF: process.env["GALLIVM_PERF"] ?? "nopt" },
    // A driver that never saw a kernel compiles it for seconds; a thousand cases of an op are a thousand kernels.
    testTimeout: process.env["MOEC_NIGHTLY"] ? 7_200_000 : 300_000,
    hookTimeout: 120_000,
  },
});

export default config;
