import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { controllerUid, labelValue } from '../../../operator/kube/informer.ts';
import { type KubeObject, keyOf } from '../../../operator/kube/object.ts';
import { Store } from '../../../operator/kube/store.ts';

interface Thing {
  readonly name: string;
  readonly life: number;
  readonly version: number;
  readonly label: string | undefined;
}

const thing: fc.Arbitrary<Thing> = fc.record({
  name: fc.constantFrom('a', 'b', 'c', 'd'),
  life: fc.integer({ min: 0, max: 1 }),
  version: fc.nat(9),
  label: fc.option(fc.constantFrom('x', 'y'), { nil: undefined }),
});

function objectOf({ name, life, version, label }: Thing): KubeObject {
  const labels = label === undefined ? {} : { labels: { app: label } };
  return {
    metadata: { name, namespace: 'n', uid: `${name}-${life}`, resourceVersion: `${version}`, ...labels },
  };
}

const step = fc.oneof(
  fc.record({ do: fc.constant('set' as const), thing }),
  fc.record({ do: fc.constant('delete' as const), thing }),
  fc.record({
    do: fc.constant('replace' as const),
    things: fc.uniqueArray(thing, { selector: (t) => t.name }),
  }),
);

describe('Store', () => {
  test('handlers, indexes and a plain model agree after any history', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const store = new Store<KubeObject>({ indexes: { app: labelValue('app') } });
        const model = new Map<string, KubeObject>();
        // What somebody who only listens believes to be there, by uid: two lives of a name are two objects.
        const heard = new Map<string, KubeObject>();
        store.subscribe({
          add: (object) => {
            assert.ok(!heard.has(object.metadata.uid!), 'added twice');
            heard.set(object.metadata.uid!, object);
          },
          update: (before, after) => {
            assert.equal(heard.get(after.metadata.uid!), before);
            heard.set(after.metadata.uid!, after);
          },
          delete: (object) => assert.ok(heard.delete(object.metadata.uid!), 'deleted but never added'),
        });
        for (const s of steps) {
          if (s.do === 'set') {
            const object = objectOf(s.thing);
            store.set(object);
            model.set(keyOf(object), object);
          } else if (s.do === 'delete') {
            const object = objectOf(s.thing);
            store.delete(object);
            if (model.get(keyOf(object))?.metadata.uid === object.metadata.uid) model.delete(keyOf(object));
          } else {
            const objects = s.things.map(objectOf);
            store.replace(objects);
            model.clear();
            for (const object of objects) model.set(keyOf(object), object);
          }
        }
        const plain = (objects: Iterable<KubeObject>) =>
          [...objects].map((o) => `${o.metadata.uid} ${o.metadata.resourceVersion}`).sort();
        assert.deepEqual(plain(store.values()), plain(model.values()));
        assert.deepEqual(plain(heard.values()), plain(model.values()));
        for (const label of ['x', 'y']) {
          const bySearch = [...store.values()].filter((object) => object.metadata.labels?.app === label);
          assert.deepEqual(plain(store.byIndex('app', `n/${label}`)), plain(bySearch));
        }
      }),
    );
  });

  test('an object that went unseen is reported as a tombstone, one seen to go with its last state', () => {
    const store = new Store<KubeObject>();
    const heard: string[] = [];
    const first = objectOf({ name: 'a', life: 0, version: 1, label: undefined });
    store.set(first);
    store.set(objectOf({ name: 'b', life: 0, version: 1, label: undefined }));
    store.subscribe({
      add: (object) => heard.push(`add ${object.metadata.uid}`),
      delete: (object, isFinal) =>
        heard.push(`delete ${object.metadata.uid} ${object.metadata.resourceVersion} ${isFinal}`),
    });
    store.delete(objectOf({ name: 'b', life: 0, version: 7, label: undefined }));
    store.set(objectOf({ name: 'a', life: 1, version: 9, label: undefined }));
    store.replace([]);
    assert.deepEqual(heard, [
      'add a-0',
      'add b-0',
      'delete b-0 7 true',
      'delete a-0 1 false',
      'add a-1',
      'delete a-1 9 false',
    ]);
  });

  test('a list of one namespace says nothing about others', () => {
    const store = new Store<KubeObject>();
    const inNamespace = (namespace: string) => (object: KubeObject) =>
      object.metadata.namespace === namespace;
    store.set({ metadata: { namespace: 'one', name: 'x', uid: '1' } });
    store.set({ metadata: { namespace: 'two', name: 'x', uid: '2' } });
    store.replace([], inNamespace('one'));
    assert.deepEqual([...store.keys()], ['two/x']);
  });

  test('a handler that throws is reported and does not keep others from hearing', () => {
    const errors: unknown[] = [];
    const store = new Store<KubeObject>({ onHandlerError: (error) => errors.push(error) });
    let heard = 0;
    store.subscribe({
      add() {
        throw new Error('mine');
      },
    });
    store.subscribe({ add: () => heard++ });
    store.set({ metadata: { name: 'x' } });
    assert.equal(heard, 1);
    assert.match(String(errors), /mine/);
  });

  test('the owner that counts for an index is the controller', () => {
    const reference = { apiVersion: 'v1', kind: 'X', name: 'x' };
    const ownerReferences = [
      { ...reference, uid: '1' },
      { ...reference, uid: '2', controller: true },
    ];
    assert.deepEqual(controllerUid({ metadata: { name: 'x', ownerReferences } }), ['2']);
    assert.deepEqual(controllerUid({ metadata: { name: 'x' } }), []);
  });
});
