import { describe, expect, test } from 'vitest';
import { Redactor } from '../../src/doctor/redact.ts';

const HIDDEN = '[redacted]';

describe('Redactor', () => {
  test('H-64 hides what it was told of, in every form in which it may stand', () => {
    const redactor = new Redactor();
    redactor.add('p@ss "word"/x\n');
    redactor.add('p@ss');
    const text = `a p@ss "word"/x b p%40ss%20%22word%22%2Fx c p@ss \\"word\\"/x d p@ss`;
    expect(redactor.text(text)).toBe(`a ${HIDDEN} b ${HIDDEN} c ${HIDDEN} d ${HIDDEN}`);
  });

  test('does not hide what is too short to be told from words', () => {
    const redactor = new Redactor();
    redactor.add('a');
    expect(redactor.text('a table')).toBe('a table');
  });

  test.each([
    ['postgres://pgark:hunter2@db1,db2/x?sslmode=require', `postgres://pgark:${HIDDEN}@db1,db2/x?sslmode=require`],
    ['https://acct.example/c?sv=1&sig=aB%2Fc%3D&se=2', `https://acct.example/c?sv=1&sig=${HIDDEN}&se=2`],
    ['https://hunter2@acct.example/c', `https://${HIDDEN}@acct.example/c`],
    ['postgres://pgark:hun/ter@2@db1/x', `postgres://pgark:${HIDDEN}@db1/x`],
    ['db_pwd=hunter2', `db_pwd=${HIDDEN}`],
    [`host=db password='hun ter2' user=x`, `host=db password=${HIDDEN} user=x`],
    ['PGPASSWORD=hunter2 psql', `PGPASSWORD=${HIDDEN} psql`],
    ['AWS_SECRET_ACCESS_KEY=hunter2', `AWS_SECRET_ACCESS_KEY=${HIDDEN}`],
    ['vault read --token hunter2', `vault read --token ${HIDDEN}`],
    ['AGE-SECRET-KEY-1QQQSYQ, more', `${HIDDEN}, more`],
    ['Authorization: Bearer abcdefghijkl', `Authorization: Bearer ${HIDDEN}`],
    ['x -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- y', `x ${HIDDEN} y`],
    ['archive_command is curl -u me:hunter2 -T %p', 'archive_command is curl ...'],
  ])('H-64 hides what looks like a secret: %s', (text, shown) => {
    expect(new Redactor().text(text)).toBe(shown);
  });

  test('leaves everything else as it is', () => {
    const text = 'repository primary: keys: ok, slot "pgark" on db1:5432, /etc/pgark/token, 3 keys, password file /x';
    expect(new Redactor().text(text)).toBe(text);
  });

  test('H-64 hides what stands beside the keys of a config that nobody could read', () => {
    const redactor = new Redactor();
    redactor.addConfigText(`postgres: { url: x, password: *hunter2 }
      secretAccessKey: "two words" # why
      identities: [ hunter4, !hunter5 ]
      token: { file: /run/secrets/token }
    `);
    const text = 'hunter2 or *hunter2, two words, hunter4, hunter5, /run/secrets/token';
    expect(redactor.text(text)).toBe(`${HIDDEN} or ${HIDDEN}, ${HIDDEN}, ${HIDDEN}, ${HIDDEN}, /run/secrets/token`);
  });

  test.each([
    ['a block', 'password: |\n  hunter2\n  Hunter3\ncluster: main'],
    ['a folded block that is named', 'password: &secret >-\n\n  hunter2 Hunter3\ncluster: main'],
    ['the line below', 'password:\n  hunter2 Hunter3\ncluster: main'],
    ['several lines', 'password: hunter2\n  Hunter3\ncluster: main'],
    ['quotes over several lines', '{ password: "hunter2\nHunter3" }\ncluster: main'],
    ['a list', 'identities:\n- hunter2\n- Hunter3\ncluster: main'],
    ['a list further in', 'x:\n  - keys:\n      - hunter2\n      - "Hunter3"\n  - cluster: main'],
    ['an item of a list', 'tokens:\n  - token: hunter2 Hunter3\n    name: main'],
    ['a key without a space', 'password:hunter2\npgpass:Hunter3\ncluster: main'],
    ['a comment', '# password: hunter2\n#token: Hunter3\ncluster: main'],
    ['JSON', '{\n  "pwd" : "hunter2", "secretAccessKey":"Hunter3",\n  "cluster": "main" }'],
    ['other names', 'pw: hunter2\npass_code: x\npasscode: Hunter3\ncluster: main'],
  ])('H-64 hides secrets of a config that nobody could read: %s', (_, config) => {
    const redactor = new Redactor();
    redactor.addConfigText(config);
    // A message may have changed capitals.
    expect(redactor.text('of main: hunter2, HUNTER2, Hunter3, hunter3')).toBe(
      `of main: ${HIDDEN}, ${HIDDEN}, ${HIDDEN}, ${HIDDEN}`,
    );
  });

  test('goes through values', () => {
    const redactor = new Redactor();
    redactor.add('hunter2');
    expect(redactor.value({ a: ['hunter2', 1, null], b: { c: 'is hunter2' } })).toEqual({
      a: [HIDDEN, 1, null],
      b: { c: `is ${HIDDEN}` },
    });
  });
});
