import type { ConnectionTarget } from './target.ts';

/** The target with the host that leads before all others; as it is when it has no such host. */
export function leaderFirst(target: ConnectionTarget, leader: string | undefined): ConnectionTarget {
  const leading = target.hosts.filter(({ host }) => host === leader);
  if (leading.length === 0) return target;
  return { ...target, shuffle: false, hosts: [...leading, ...target.hosts.filter(({ host }) => host !== leader)] };
}

/** The host of an address such as `db1:5432` or `[::1]:5432`. */
export function hostOf(address: string): string {
  return address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
