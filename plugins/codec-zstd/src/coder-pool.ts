import type { FrameCoder } from './frame-coder.ts';

/** The coders of one stream: as many as work at once, each used again. */
export class CoderPool {
  readonly #make: () => FrameCoder;
  readonly #all: FrameCoder[] = [];
  readonly #idle: FrameCoder[] = [];

  constructor(make: () => FrameCoder) {
    this.#make = make;
  }

  async run(bytes: Uint8Array): Promise<Uint8Array> {
    let coder = this.#idle.pop();
    if (coder === undefined) this.#all.push((coder = this.#make()));
    const made = await coder.run(bytes);
    this.#idle.push(coder);
    return made;
  }

  /** To be called when no work is under way. */
  close(): void {
    for (const coder of this.#all) coder.close();
  }
}
