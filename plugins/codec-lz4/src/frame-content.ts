import { BlockExpander } from './block-expander.ts';
import { corrupt } from './corrupt.ts';
import type { FrameDescriptor } from './frame.ts';
import { XxHash32, xxhash32 } from './xxhash32.ts';

/** Decompresses and gathers the blocks of one frame, and checks what the frame says of them. */
export class FrameContent {
  readonly #expander: BlockExpander;
  readonly #hash: XxHash32 | undefined;
  readonly #size: number | undefined;
  #length = 0;

  constructor(descriptor: FrameDescriptor) {
    this.#expander = new BlockExpander(descriptor);
    this.#hash = descriptor.contentChecksum ? new XxHash32() : undefined;
    this.#size = descriptor.contentSize;
  }

  /** Bytes of content that wait for {@link take}. */
  get gathered(): number {
    return this.#expander.gathered;
  }

  /** The content of the blocks since the last call. */
  take(): Uint8Array {
    return this.#expander.take();
  }

  /** Gathers the content of the next block, and gives its length; `checksum` as it stands behind it. `CODEC_CORRUPT`. */
  open(block: Uint8Array, stored: boolean, checksum: number | undefined): number {
    if (checksum !== undefined && xxhash32(block) !== checksum)
      throw corrupt('an lz4 block does not match its checksum');
    const content = stored ? this.#expander.copy(block) : this.#expander.expand(block);
    this.#length += content.byteLength;
    this.#hash?.update(content);
    return content.byteLength;
  }

  /** Checks the whole; `checksum` as it stands at the end of the frame. `CODEC_CORRUPT`. */
  end(checksum: number | undefined): void {
    if (this.#size !== undefined && this.#size !== this.#length)
      throw corrupt(`an lz4 frame has ${this.#length} bytes of content and claims ${this.#size}`);
    if (this.#hash !== undefined && this.#hash.digest() !== checksum)
      throw corrupt('the content of an lz4 frame does not match its checksum');
  }
}
