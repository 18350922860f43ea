/**
 * Results of the library in one piece. Their memory, which is the library's own, is given back at once: the collector comes late, because it
 * does not see how much it is.
 */
export function join(results: readonly Buffer[]): Buffer {
  const joined = Buffer.concat(results);
  for (const { buffer, byteLength } of results) {
    const memory = buffer as ArrayBuffer & { readonly transfer?: (length: number) => ArrayBuffer };
    if (memory.byteLength === byteLength) memory.transfer?.(0);
  }
  return joined;
}
