/** What a back end or its server does not do, for `knownGaps` of the storage suite: several clauses with one reason. */
export function gaps(reason: string, ...ids: readonly string[]): readonly { id: string; reason: string }[] {
  return ids.map((id) => ({ id, reason }));
}

/** Of every stack with a prefix. */
export const PREFIX_GAPS = gaps('the prefix takes its part of the 900 bytes', 'STOR-01/longest');

/** Of what is no service at the other end of a network. */
export const LOCAL_GAPS = [
  ...gaps('nobody is asked over a network', 'STOR-06/unavailable', 'STOR-06/silent', 'STOR-06/slow'),
  ...gaps('there are no credentials', 'STOR-06/credentials'),
];

/** Of the suite when it runs once more, through a stack: the network is that of the back end alone, and so is the scale. */
export const STACK_GAPS = [
  ...PREFIX_GAPS,
  ...gaps('the suite of the back end alone has it', 'STOR-06/silent', 'STOR-06/slow', 'STOR-06/full'),
];

/** Every clause of a storage in trouble. */
export const BROKEN = ['missing', 'denied', 'credentials', 'unavailable', 'silent', 'slow', 'full'].map(
  (name) => `STOR-06/${name}`,
);
