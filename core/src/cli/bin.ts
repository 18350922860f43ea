import { clientMain } from '../agent/client.ts';

// The full program is loaded only when no agent has done it.
const code = await clientMain(process.argv);
if (code !== undefined) process.exit(code);
const { main } = await import('./main.ts');
await main(process.argv);
