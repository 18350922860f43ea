/** Milliseconds, 24 days: one that is longer fires at once in Node. Loads nothing: the client of the agent needs it. */
export const LONGEST_TIMER: number = 2 ** 31 - 1;
