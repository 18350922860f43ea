/** Which objects a sample consists of: random, and the same for the same seed. */
import { createHash } from 'node:crypto';

/** Gives numbers from 0 up to, not including, 1: for a seed and the name of what is drawn always the same ones. */
export function drawFor(seed: number, name: string): () => number {
  let count = 0;
  return () => {
    const digest = createHash('sha256').update(`${seed} ${name} ${count++}`).digest();
    return digest.readUIntBE(0, 6) / 2 ** 48;
  };
}

/** Numbers of so many items out of `count`, spread evenly, with one from each stretch; all when there are no more. */
export function evenDraw(count: number, most: number, random: () => number): ReadonlySet<number> {
  const drawn = new Set<number>();
  const taken = Math.min(count, most);
  for (let stretch = 0; stretch < taken; stretch++) {
    const from = Math.floor((stretch * count) / taken);
    const to = Math.floor(((stretch + 1) * count) / taken);
    drawn.add(from + Math.floor(random() * (to - from)));
  }
  return drawn;
}
