/** Tests for what others add to moec: `moec/testing`. Needs fast-check, and no test runner in particular. */
export { type RouterLaw, routerLaws, type RouterLawOptions } from "./routerLaws.ts";
