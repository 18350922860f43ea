/** Whether the servers of all storages are here, or could be made: exits with 1 and says what is missing and how to get it. */
import { azureMissing } from './support/azure-server.ts';
import { gcsMissing } from './support/gcs-server.ts';
import { versityMissing } from './support/s3-server.ts';
import { noSshd } from './support/sftp-server.ts';

const missing = [azureMissing, gcsMissing, versityMissing, noSshd].filter((reason) => reason !== undefined);
for (const reason of missing) console.error(reason);
process.exitCode = missing.length === 0 ? 0 : 1;
