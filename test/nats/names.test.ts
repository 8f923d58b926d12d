import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  broadcastSubject,
  busSubscriptions,
  directSubject,
  inboxPrefix,
  jobNames,
  memberId,
  senderOf,
  token,
  workerTag,
} from '../../worker/nats/names.ts';
import { workerPermissions } from '../../worker/nats/permissions.ts';

const names = jobNames('6f9b0e52-8d0c-4b55-9f3e-0d6c3a1f7e21');
const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('a.b', '*', '>', 'all', '-', ''),
);
const hexId = fc
  .uint8Array({ minLength: 8, maxLength: 8 })
  .map((bytes) => Buffer.from(bytes).toString('hex'));
const id = fc.oneof(text, hexId);

/** Whether a subject is one that a subscription or a permission with wildcards covers. */
function covers(pattern: string, subject: string): boolean {
  const [wanted, given] = [pattern.split('.'), subject.split('.')];
  if (wanted.at(-1) === '>')
    return (
      given.length >= wanted.length &&
      wanted.slice(0, -1).every((part, i) => part === '*' || part === given[i])
    );
  return wanted.length === given.length && wanted.every((part, i) => part === '*' || part === given[i]);
}

describe('the names on a server', () => {
  it('make one token of any text, and of two texts two tokens', () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        assert.match(token(a), /^[A-Za-z0-9_=-]+$/);
        const same = Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;
        assert.equal(token(a) === token(b), same);
      }),
    );
  });

  it('keep the UID of a job as it is', () => {
    assert.equal(names.stream, 'onebyte-6f9b0e52-8d0c-4b55-9f3e-0d6c3a1f7e21');
    assert.equal(names.log, 'onebyte.6f9b0e52-8d0c-4b55-9f3e-0d6c3a1f7e21.log');
  });

  it('refuse a prefix that cannot begin a subject', () => {
    for (const prefix of ['', 'a.b', '*', '$JS', 'x'.repeat(33)])
      assert.throws(() => jobNames('u', prefix), { code: 'NATS_CONFIG_INVALID' });
  });

  it('give every message to its receiver alone, and tell who sent it', () => {
    fc.assert(
      fc.property(id, id, id, (from, to, third) => {
        const good = [from, to, third].map((each) => Buffer.from(each).toString());
        const [a, b, c] = good as [string, string, string];
        const subject = directSubject(names, b, a);
        const [direct, broadcast] = busSubscriptions(names, b);
        assert.ok(covers(direct, subject));
        assert.ok(!covers(broadcast, subject));
        if (c !== b) assert.ok(!covers(busSubscriptions(names, c)[0], subject));
        assert.equal(senderOf(names, subject), a);
        assert.ok(covers(broadcast, broadcastSubject(names, a)));
        assert.equal(senderOf(names, broadcastSubject(names, a)), a);
      }),
    );
  });

  it('know nobody as the sender of what is not of the bus', () => {
    assert.equal(senderOf(names, names.log), null);
    assert.equal(senderOf(names, `other.${names.bus}.a.-.b.-`), null);
  });

  it('let the credentials of a worker cover its own lives and no other worker', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1 }),
        fc.string({ minLength: 1 }),
        fc.uint8Array({ minLength: 4 }),
        (w, v, life) => {
          fc.pre(workerTag(w) !== workerTag(v));
          const { publish, subscribe } = workerPermissions({ names }, w);
          const allowed = (list: readonly string[], subject: string) =>
            list.some((each) => covers(each, subject));
          const [own, other] = [memberId(w, life), memberId(v, life)];
          assert.match(own, /^[0-9a-f]{16}$/);
          assert.ok(allowed(publish.allow, directSubject(names, other, own)));
          assert.ok(allowed(publish.allow, broadcastSubject(names, own)));
          assert.ok(!allowed(publish.allow, directSubject(names, own, other)));
          assert.ok(!allowed(publish.allow, broadcastSubject(names, other)));
          assert.ok(allowed(subscribe.allow, directSubject(names, own, other)));
          assert.ok(!allowed(subscribe.allow, directSubject(names, other, own)));
          assert.ok(allowed(subscribe.allow, `${inboxPrefix(names.uid, w)}.x`));
          assert.ok(!allowed(subscribe.allow, `${inboxPrefix(names.uid, v)}.x`));
        },
      ),
    );
  });
});
