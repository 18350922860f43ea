/** The thread of the receiver. It is started by receive.ts and does nothing else. */
import { parentPort, workerData } from 'node:worker_threads';
import { ArchiveError } from '../contracts/errors.ts';
import { errorOf, plainError, type FromThread, type ThreadData, type ToThread } from './messages.ts';
import { Receiver } from './receiver.ts';

const port = parentPort;
if (port === null) throw new ArchiveError('INTERNAL', 'the receiving thread was started as a program');

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

const waiting = new Map<number, Waiting>();
let asked = 0;
const post = (message: FromThread): void => {
  port.postMessage(message);
};

const receiver = new Receiver(workerData as ThreadData, {
  post,
  ask: (question) =>
    new Promise((resolve, reject) => {
      asked += 1;
      waiting.set(asked, { resolve, reject });
      post({ type: 'ask', id: asked, question });
    }),
});

port.on('message', (message: ToThread) => {
  switch (message.type) {
    case 'stop':
      receiver.stop();
      break;
    case 'confirmed':
      receiver.confirm(message.position);
      break;
    case 'want-slice':
      receiver.wantSlice();
      break;
    case 'leader':
      receiver.lead(message.host);
      break;
    case 'answer': {
      const caller = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error === undefined) caller?.resolve(message.value);
      else caller?.reject(errorOf(message.error));
      break;
    }
  }
});

/** Milliseconds between two signs of life. */
const ALIVE_EVERY = 1000;
const tellAlive = (): void => {
  post({ type: 'alive' });
};
tellAlive();
setInterval(tellAlive, ALIVE_EVERY).unref();

const finish = (message: FromThread): void => {
  post(message);
  port.close();
};

async function main(): Promise<void> {
  try {
    finish({ type: 'end', ...(await receiver.run()) });
  } catch (error) {
    finish({ type: 'failed', error: plainError(error) });
  }
}

void main();
