import { ArchiveError } from '../contracts/errors.ts';
import type { ArchiveEvent, Hook, HookContext } from '../contracts/hook.ts';
import { Late, type LateOptions } from '../repository/late-parts.ts';

/** Stands in for a hook whose secret cannot be read: its events wait as for a receiver that is away, and what it guards is refused. */
export class LateHook implements Hook {
  readonly #late: Late<Hook>;

  constructor(options: LateOptions<Hook>) {
    this.#late = new Late(options);
  }

  async handle(event: ArchiveEvent, context: HookContext): Promise<void> {
    await (await this.#made()).handle(event, context);
  }

  async #made(): Promise<Hook> {
    try {
      return await this.#late.get();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ArchiveError('HOOK_FAILED', `the hook cannot be made: ${reason}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    await (await this.#late.end())?.close();
  }
}
