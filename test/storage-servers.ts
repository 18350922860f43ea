/** Whether the servers of all storages, and helm, are here, or could be made: exits with 1 and says what is missing and how to get it. */
import { azureMissing } from './support/azure-server.ts';
import { gcsMissing } from './support/gcs-server.ts';
import { goServer } from './support/go-server.ts';
import { HELM } from './support/helm.ts';
import { unavailable } from './support/require.ts';
import { versityMissing } from './support/s3-server.ts';
import { noSshd } from './support/sftp-server.ts';

const noHelm = goServer(HELM, 'helm') === undefined ? unavailable('helm', 'install Go') : undefined;
const missing = [azureMissing, gcsMissing, versityMissing, noSshd, noHelm].filter((reason) => reason !== undefined);
for (const reason of missing) console.error(reason);
process.exitCode = missing.length === 0 ? 0 : 1;
