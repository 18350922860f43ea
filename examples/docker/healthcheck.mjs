// Ends with 0 when the daemon of this container says that it lives. HEALTH_URL names another address; with https the certificate is of
// another name than 127.0.0.1, and nothing secret is sent.
const url = new URL(process.env.HEALTH_URL ?? 'http://127.0.0.1:8733/livez');
const { get } = await import(url.protocol === 'https:' ? 'node:https' : 'node:http');

const request = get(url, { rejectUnauthorized: false, timeout: 8000 }, (answer) => {
  answer.pipe(process.stdout);
  process.exitCode = answer.statusCode === 200 ? 0 : 1;
});
request.on('timeout', () => request.destroy(new Error('no answer within 8 s')));
request.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
