import { leaseChunk } from 'pgark/contracts';

/** A leased copy whose memory is freed in the very moment of its release: whoever looks at it afterwards sees nothing, not even a length. */
export function freedChunk(bytes: Uint8Array): Uint8Array {
  const chunk = new Uint8Array(bytes);
  const memory = chunk.buffer as ArrayBuffer & { transfer(length: number): ArrayBuffer };
  return leaseChunk(chunk, () => void memory.transfer(0));
}
