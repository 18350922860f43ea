/** Texts that a cluster, a host or a message may hold and that must stay text, wherever they go. */
export const NASTY_TEXTS: readonly string[] = [
  '<!channel> <!here> <@U012ABCDEF> <!subteam^S012ABC> <#C012ABC>',
  '<https://evil.example|click here> https://evil.example/x',
  '@everyone @here <@123456789012345678> <@&123456789012345678> @all @channel',
  '[click](https://evil.example) **bold** `code` ~~gone~~ ||hidden|| > quote # title\\',
  '","text":"<!channel>"}],"blocks":[{"type":"section"',
  '{{data}} {{secret}} ${HOME} $(id) `id` %(id)s',
  'line one\nline two\r\nX-Injected: yes\r\n\r\nbody',
  '<at>everyone</at> <b>html</b> &amp; &lt;!channel&gt;',
  'tab\tnul\0bell\u0007escape\u001B[31m turned\u202Etxt.exe half\uD800 line\u2028end',
  '🐘'.repeat(200),
  '&'.repeat(9000),
  '"\\'.repeat(9000),
];
