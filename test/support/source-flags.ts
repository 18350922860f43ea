/**
 * Flags for every Node that runs the threads of pgark from their TypeScript.
 *
 * Node strips the types with a WebAssembly module, one per thread, and V8 (Node 24.21) corrupts its list of code pages when two
 * threads replace the wrappers of such a module: "Check failed: jit_page.has_value()" or a segmentation fault, once in some
 * twenty runs of a loaded machine (nodejs/node#64500). A wrapper that is never called often enough is never replaced. The
 * built JavaScript loads no such module and needs no flag.
 */
export const SOURCE_FLAGS: readonly string[] = ['--wasm-wrapper-tiering-budget=1000000000'];
