/** The text as a part of a URL or a header. Halves of characters, at which `encodeURIComponent` throws, become what stands for them. */
export function inUrl(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString());
}
