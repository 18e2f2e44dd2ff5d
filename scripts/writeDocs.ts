/** Writes the pages that are derived from the code; `npm run docs` runs it. */
import { writeFileSync } from "node:fs";

import { opsPage } from "./opsPage.ts";
import { routersPage } from "./routersPage.ts";
import { weightsPage } from "./weightsPage.ts";

writeFileSync("docs/ops.md", opsPage());
writeFileSync("docs/routers.md", routersPage());
writeFileSync("docs/weights.md", weightsPage());
