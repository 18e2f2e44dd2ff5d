import { defineConfig, type ViteUserConfig } from "vitest/config";

const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/support/setup.ts"],
    // Dawn keeps native state for the life of a process, so test files never share one.
    pool: "forks",
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});

export default config;
