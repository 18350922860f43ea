/**
 * The scale of the storage suite: `full` with `PGARK_TEST_FULL=1`, which takes minutes for each storage and 14 GiB of disk.
 */
export const SCALE: 'small' | 'full' = process.env['PGARK_TEST_FULL'] === '1' ? 'full' : 'small';
