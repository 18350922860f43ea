/** Servers and tools that a test needs and not every machine has. */

/**
 * The reason for which tests are skipped when something could not be had, with the way to get it. With
 * `PGARK_TEST_REQUIRE=all` it is an error instead: where it can be installed it must not be missing unseen.
 *
 * @example
 * const missing = existsSync('/usr/sbin/sshd') ? undefined : unavailable('sshd', 'apt-get install openssh-server');
 * describe.skipIf(missing !== undefined)(...)
 */
export function unavailable(what: string, howToGet: string): string {
  const reason = `${what} is not here: ${howToGet}`;
  if (process.env['PGARK_TEST_REQUIRE'] === 'all') throw new Error(`${reason} (PGARK_TEST_REQUIRE=all)`);
  return reason;
}
