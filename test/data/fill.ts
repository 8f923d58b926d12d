/** One process that fills the cache, for tests that end it midway: node fill.ts URI SHA256. */
import { resolveModel } from '../../worker/data/cache.ts';

const [uri, sha256] = process.argv.slice(2);
console.log(await resolveModel({ uri: uri!, sha256: sha256! }, { folder: '/', known: {} }));
