/** Asks an agent over its socket, and never waits for one that is silent. Loads nothing but built-in modules. */
import { connect } from 'node:net';
import { LONGEST_TIMER } from '../wal-command/longest-timer.ts';
import { Lines, parseMessage, type AgentMessage, type AgentRequest } from './protocol.ts';

export interface AskOptions {
  readonly onStderr: (text: string) => void;
  /** Milliseconds without a sign of life after which the agent counts as dead: before its first one, and later. */
  readonly patience?: { readonly first: number; readonly later: number };
  /** Milliseconds for the whole; without it, as long as the agent lives. */
  readonly limit?: number;
}

export type Answer =
  | {
      readonly type: 'end';
      readonly exitCode: number;
      readonly stdout: string;
      readonly file: string | undefined;
      /** Tells the agent that the answer was used, a file taken away. */
      readonly close: () => void;
    }
  /** The agent has not done the work, or not told of it. */
  | { readonly type: 'none'; readonly reason: string };

const PATIENCE = { first: 5000, later: 10_000 };

/** Never rejects: whatever goes wrong with the agent, the caller can do the work itself. */
export function ask(socket: string, request: AgentRequest, options: AskOptions): Promise<Answer> {
  const { onStderr, patience = PATIENCE, limit } = options;
  return new Promise((resolve) => {
    const connection = connect(socket);
    const lines = new Lines();
    let done = false;
    const finish = (answer: Answer): void => {
      done = true;
      clearTimeout(silence);
      clearTimeout(whole);
      if (answer.type === 'none') connection.destroy();
      resolve(answer);
    };
    const none = (reason: string): void => finish({ type: 'none', reason });
    let silence = setTimeout(() => none('the agent does not answer'), patience.first);
    const tooLong = (): void => none('the agent takes too long');
    const whole = limit === undefined ? undefined : setTimeout(tooLong, Math.min(limit, LONGEST_TIMER));

    const take = (message: AgentMessage): void => {
      clearTimeout(silence);
      silence = setTimeout(() => none('the agent has fallen silent'), patience.later);
      if (message.type === 'stderr') onStderr(message.text);
      if (message.type === 'decline') none(message.reason);
      if (message.type !== 'end') return;
      const { exitCode, stdout, file } = message;
      finish({ type: 'end', exitCode, stdout, file, close: () => connection.destroy() });
    };
    connection.setEncoding('utf8');
    connection.on('data', (text: string) => {
      for (const line of lines.push(text) ?? ['']) {
        if (done) return;
        const message = parseMessage(line);
        if (message === undefined) return none('the agent says what this version does not know');
        take(message);
      }
    });
    connection.on('error', (error) => none(error.message));
    connection.once('close', () => none('the agent has closed the connection'));
    connection.write(`${JSON.stringify(request)}\n`);
  });
}
