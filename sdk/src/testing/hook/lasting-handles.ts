import { createHook, type AsyncHook } from 'node:async_hooks';

/** What keeps a process alive when it is left behind, as Node calls it. */
const LASTING: ReadonlySet<string> = new Set([
  'MESSAGEPORT',
  'PIPESERVERWRAP',
  'PIPEWRAP',
  'PROCESSWRAP',
  'TCPSERVERWRAP',
  'TCPWRAP',
  'TLSWRAP',
  'Timeout',
  'UDPWRAP',
  'WORKER',
]);

/** Watches which handles are opened from its making on, and not closed. */
export class LastingHandles {
  readonly #open = new Map<number, { readonly type: string; readonly resource: { hasRef?: () => boolean } }>();
  readonly #hook: AsyncHook;

  constructor() {
    this.#hook = createHook({
      init: (id, type, _trigger, resource) => {
        if (LASTING.has(type)) this.#open.set(id, { type, resource });
      },
      destroy: (id) => {
        this.#open.delete(id);
      },
    }).enable();
  }

  /** Kinds of those that keep the process alive at this moment. */
  get left(): readonly string[] {
    return [...this.#open.values()].flatMap(({ type, resource }) => (resource.hasRef?.() === true ? [type] : []));
  }

  end(): void {
    this.#hook.disable();
  }
}
