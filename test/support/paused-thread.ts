/** A worker thread that stands still in the middle of its work, as one does whose disk hangs. */
import { Session } from 'node:inspector/promises';

interface Attached {
  readonly sessionId: string;
  readonly workerInfo: { readonly url: string };
}

/** Stops the thread whose file has this in its path, and gives what lets it go on. */
export async function pauseThread(path: string): Promise<() => Promise<void>> {
  const session = new Session();
  session.connect();
  const attached = new Promise<string>((resolve) => {
    session.on('NodeWorker.attachedToWorker', (message) => {
      const { sessionId, workerInfo } = (message as unknown as { readonly params: Attached }).params;
      if (workerInfo.url.includes(path)) resolve(sessionId);
    });
  });
  await session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
  const sessionId = await attached;
  let id = 0;
  const tell = (method: string): Promise<void> => {
    id += 1;
    return session.post('NodeWorker.sendMessageToWorker', { sessionId, message: JSON.stringify({ id, method }) });
  };
  await tell('Debugger.enable');
  await tell('Debugger.pause');
  return async () => {
    await tell('Debugger.resume');
    await tell('Debugger.disable');
    session.disconnect();
  };
}
