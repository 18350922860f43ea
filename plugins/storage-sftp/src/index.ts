import { definePlugin, Secret, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import type { SftpStorageOptions } from './options.ts';
import { SftpStorage } from './sftp-storage.ts';

export type { SftpStorageOptions } from './options.ts';
export { SftpStorage } from './sftp-storage.ts';

const mode = z.string().regex(/^0?[0-7]{3}$/, 'must be an octal mode in quotes, such as "0440"');
const milliseconds = z.int().min(100).max(86_400_000);
const secret = z.instanceof(Secret as unknown as new () => Secret, { error: 'must be a secret' });

const options = z
  .strictObject({
    host: z.string().min(1).describe('Name or address of the server.'),
    port: z.int().min(1).max(65_535).optional().describe('Default 22.'),
    user: z.string().min(1).describe('Whom to log in as.'),
    path: z
      .string()
      .min(1)
      .describe("Folder of the archive on the server, absolute or relative to the login's folder."),
    privateKeyFile: z
      .string()
      .min(1)
      .optional()
      .describe("File of the private key, relative to the config file's folder."),
    privateKey: secret.optional().describe('The private key itself, in the form of OpenSSH or PEM.'),
    passphrase: secret.optional().describe('Opens the private key.'),
    agent: z
      .string()
      .min(1)
      .optional()
      .describe('Socket of an SSH agent; default SSH_AUTH_SOCK if nothing else is given.'),
    password: secret.optional().describe('Password of the login.'),
    knownHosts: z
      .string()
      .min(1)
      .optional()
      .describe('File with the keys of hosts; default ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts.'),
    hostKey: z
      .string()
      .regex(/^SHA256:[A-Za-z0-9+/]{43}=?$/, 'must be a fingerprint as "ssh-keygen -l" prints it: SHA256:...')
      .optional()
      .describe("Fingerprint of the server's key, SHA256:..., in place of known hosts."),
    createOnly: z
      .enum(['hardlink', 'none'])
      .optional()
      .describe(
        '"hardlink" (default) publishes atomically and never overwrites; "none" for servers that have no links.',
      ),
    fsync: z.boolean().optional().describe('Sync objects before they get their name; default true.'),
    connections: z.int().min(1).max(64).optional().describe('Most connections at a time; default 4.'),
    connectTimeout: milliseconds.optional().describe('Milliseconds until a connection must stand; default 20000.'),
    timeout: milliseconds
      .optional()
      .describe('Milliseconds without any answer until a connection is given up; default 60000.'),
    keepaliveInterval: z
      .int()
      .min(0)
      .max(86_400_000)
      .optional()
      .describe('Milliseconds between signs of life; default 15000, 0 for none.'),
    keepaliveCount: z.int().min(1).max(100).optional().describe('Signs of life that may stay unanswered; default 3.'),
    fileMode: mode.optional().describe('Mode of objects, narrowed by the umask; default "0440".'),
    directoryMode: mode.optional().describe('Mode of folders, narrowed by the umask; default "0750".'),
  })
  .refine(({ privateKey, privateKeyFile }) => privateKey === undefined || privateKeyFile === undefined, {
    path: ['privateKeyFile'],
    error: 'give either privateKey or privateKeyFile',
  });

const plugin: Plugin<'storage', SftpStorageOptions> = definePlugin({
  name: 'sftp',
  kind: 'storage',
  secrets: ['privateKey', 'passphrase', 'password'],
  options: options as unknown as z.ZodType<SftpStorageOptions>,
  create: (options, context) => new SftpStorage(options, context),
});

export default plugin;
