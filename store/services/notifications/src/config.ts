// What the service is told by its environment; all of it is read here, once.

export interface Config {
  host: string;
  port: number;
  database: string;
  token: string;
  smsUrl: string;
  staleMs: number;
  supersedeMs: number;
  settleMs: number;
}

export function readConfig(env: NodeJS.ProcessEnv): Config {
  return {
    host: env.HOST || '127.0.0.1',
    port: whole(env, 'PORT', 8080, 65_535),
    database: databasePath(env.DATABASE_URL || 'sqlite:///notifications.db'),
    token: env.APP_API_TOKEN || '',
    smsUrl: (env.SMS_SIM_URL || '').replace(/\/+$/, ''),
    staleMs: whole(env, 'STALE_AFTER_MS', 2 * 3_600_000, 7 * 86_400_000),
    supersedeMs: whole(env, 'SUPERSEDE_AFTER_MS', 60_000, 86_400_000),
    settleMs: whole(env, 'SETTLE_MS', 3_000, 600_000),
  };
}

function whole(env: NodeJS.ProcessEnv, name: string, otherwise: number, most: number): number {
  const text = env[name];
  if (!text) return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > most) {
    throw new Error(`${name} is "${text}"; expected an integer from 0 to ${most}`);
  }
  return value;
}

function databasePath(address: string): string {
  const path = address.startsWith('sqlite:///') ? address.slice('sqlite:///'.length) : '';
  if (!path) throw new Error(`DATABASE_URL is "${address}"; expected sqlite:////absolute/path.db`);
  return path;
}
