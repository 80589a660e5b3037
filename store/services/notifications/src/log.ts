// One JSON object a line on stdout, with the members every service of the store writes.

export type Fields = Record<string, unknown>;

function line(level: string, msg: string, fields: Fields): void {
  process.stdout.write(JSON.stringify({ time: new Date().toISOString(), level, msg, ...fields }) + '\n');
}

export const log = {
  info: (msg: string, fields: Fields = {}): void => line('info', msg, fields),
  warn: (msg: string, fields: Fields = {}): void => line('warn', msg, fields),
  error: (msg: string, fields: Fields = {}): void => line('error', msg, fields),
};

export function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
