/** Who leads a cluster of Patroni: `GET /primary` of each member's REST API, 200 of the one that holds the leader lock, 503 of the others. */
import { hostOf } from '../postgres/leader-first.ts';
import type { Judgement } from './judge.ts';

/** What a member says; `leads` is undefined for one that gave no answer that means anything. */
export interface MemberAnswer {
  /** As in its URL. */
  readonly host: string;
  readonly leads: boolean | undefined;
  /** Why nothing is known. */
  readonly problem?: string;
}

/** Milliseconds for one answer. */
const DEADLINE = 5000;

/** Asks every member at once. Never fails: who does not answer says so. */
export async function askMembers(urls: readonly string[], signal: AbortSignal): Promise<readonly MemberAnswer[]> {
  return Promise.all(urls.map((url) => askMember(url, signal)));
}

async function askMember(url: string, signal: AbortSignal): Promise<MemberAnswer> {
  const host = hostOf(new URL(url).host);
  try {
    const response = await fetch(new URL('/primary', url), {
      signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE)]),
      redirect: 'error',
    });
    await response.body?.cancel();
    if (response.status === 200) return { host, leads: true };
    if (response.status === 503) return { host, leads: false };
    return { host, leads: undefined, problem: `${url} answered ${response.status}` };
  } catch (error) {
    const { message, cause } = error as Error;
    const reason = cause instanceof Error ? cause.message : message;
    return { host, leads: undefined, problem: `${url} did not answer: ${reason}` };
  }
}

/** The host that leads; undefined when none says so, or several do. */
export function leaderAmong(answers: readonly MemberAnswer[]): string | undefined {
  const leaders = answers.filter(({ leads }) => leads === true);
  return leaders.length === 1 ? leaders[0]?.host : undefined;
}

/** Compares what the members say with the host that answered, `db1:5432`; undefined when none did. */
export function judgeLeader(answers: readonly MemberAnswer[], answered: string | undefined): Judgement {
  const subject = 'leader';
  const leaders = answers.filter(({ leads }) => leads === true).map(({ host }) => host);
  const problems = answers.flatMap(({ problem }) => problem ?? []);
  const [leader, other] = leaders;
  if (leader !== undefined && other !== undefined) {
    const message = `${leaders.join(' and ')} say that they lead the cluster`;
    return {
      subject,
      state: 'TWO_LEADERS',
      message,
      hint: 'Look at the cluster: "patronictl list".',
      detail: leaders.join(),
    };
  }
  if (leader === undefined) {
    if (problems.length > 0)
      return { subject, state: 'unknown', message: `who leads is not known: ${problems.join('; ')}` };
    return {
      subject,
      state: 'NO_LEADER',
      message: 'no member leads the cluster',
      hint: 'A failover may be under way.',
    };
  }
  const host = answered === undefined ? undefined : hostOf(answered);
  const known = answers.some((answer) => answer.host === host);
  if (host === undefined || !known) {
    const who =
      host === undefined ? 'no server answered' : `${host} is not among the hosts of receive.guardian.patroni`;
    return { subject, state: 'unknown', message: `${leader} leads; whether it is streamed from is not known: ${who}` };
  }
  if (host === leader) return { subject, state: 'leader', message: `${host} leads the cluster`, detail: host };
  return {
    subject,
    state: 'NOT_THE_LEADER',
    message: `${host} answers as the primary, but ${leader} leads the cluster`,
    hint: `Shut ${host} down, or look why it was not demoted: what it writes now will be lost.`,
    detail: `${host} ${leader}`,
  };
}
