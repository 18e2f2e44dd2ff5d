/** Writes the pages that are derived from the code; `npm run docs` runs it. */
import { writeFileSync } from "node:fs";

import { opsPage } from "./opsPage.ts";
import { routersPage } from "./routersPage.ts";

writeFileSync("docs/ops.md", opsPage());
writeFileSync("docs/routers.md", routersPage());
