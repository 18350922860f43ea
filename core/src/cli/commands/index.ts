/** Every command, in the order of `pgark --help`. A new one is a file here and a line in this list. */
import type { Command } from 'commander';
import { register as agent } from './agent.ts';
import { register as backup } from './backup.ts';
import { register as check } from './check.ts';
import { register as completion } from './completion.ts';
import { register as config } from './config.ts';
import { register as copy } from './copy.ts';
import { register as expire } from './expire.ts';
import { register as gc } from './gc.ts';
import { register as doctor } from './doctor.ts';
import { register as drill } from './drill.ts';
import { register as hooks } from './hooks.ts';
import { register as init } from './init.ts';
import { register as keys } from './keys.ts';
import { register as list } from './list.ts';
import { register as map } from './map.ts';
import { register as pin } from './pin.ts';
import { register as plugins } from './plugins.ts';
import { register as receive } from './receive.ts';
import { register as restore } from './restore.ts';
import { register as run } from './run.ts';
import { register as runs } from './runs.ts';
import { register as serve } from './serve.ts';
import { register as show } from './show.ts';
import { register as status } from './status.ts';
import { register as verify } from './verify.ts';
import { register as walFetch } from './wal-fetch.ts';
import { register as walPush } from './wal-push.ts';

export const COMMANDS: readonly ((program: Command) => void)[] = [
  init,
  check,
  doctor,
  receive,
  run,
  backup,
  list,
  show,
  status,
  map,
  pin,
  expire,
  gc,
  keys,
  restore,
  verify,
  drill,
  copy,
  runs,
  walPush,
  walFetch,
  agent,
  serve,
  config,
  plugins,
  hooks,
  completion,
];
