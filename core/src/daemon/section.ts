/** What a reload compares: whether a section of the config says the same as before. */
import type { Config } from '../config/config.ts';
import { Secret } from '../contracts/secret.ts';

/** Whether two configs of a cluster say the same, but for what is for all clusters of the file. */
export function isSameSection(left: Config, right: Config): boolean {
  return isSame({ ...left, daemon: undefined }, { ...right, daemon: undefined });
}

/** Whether two values of a config are the same; secrets by what they hold, which shows in nothing else. */
export function isSame(left: unknown, right: unknown): boolean {
  if (left instanceof Secret) return right instanceof Secret && left.reveal() === right.reveal();
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return left === right;
  if (right instanceof Secret || Array.isArray(left) !== Array.isArray(right)) return false;
  const [one, other] = [left, right] as readonly [Record<string, unknown>, Record<string, unknown>];
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names].every((name) => isSame(one[name], other[name]));
}
