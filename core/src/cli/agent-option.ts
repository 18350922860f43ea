/** The option `--agent-socket` of the commands that PostgreSQL runs. The client of the agent reads it, see `agent/call.ts`. */
import { Option } from 'commander';

export function agentSocketOption(): Option {
  return new Option(
    '--agent-socket <path>',
    'let the agent that listens here do it, if there is one (default: found by the path of the config file)',
  );
}
