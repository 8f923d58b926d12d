/** Error of one trip through the byte codecs, for inputs of several kinds: `node bench/codec.ts`. */
import { codec } from '../worker/method/codec.ts';

const COUNT = 300_000;

/** A seeded uniform generator (mulberry32); only its statistics matter here. */
function uniforms(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

const next = uniforms(1);
const normal = () => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());
const t3 = () => normal() / Math.sqrt((normal() ** 2 + normal() ** 2 + normal() ** 2) / 3);
const kinds: readonly (readonly [string, () => number])[] = [
  ['normal, sd 0.03', () => 0.03 * normal()],
  ['normal, sd 1', normal],
  ['normal, sd 30', () => 30 * normal()],
  ['normal, sd 1000', () => 1000 * normal()],
  ['Student t, 3 degrees of freedom', t3],
  ['Student t, times 100', () => 100 * t3()],
  ['tiny: normal, sd 1e-5', () => 1e-5 * normal()],
];

console.log('input                              codec   relative rms error  cosine   sign kept');
for (const [name, draw] of kinds) {
  const values = Float64Array.from({ length: COUNT }, draw);
  for (const codecName of ['log8', 'sign1'] as const) {
    const { encode, values: table } = codec(codecName);
    let [error, power, dot, decodedPower, signs] = [0, 0, 0, 0, 0];
    for (const value of values) {
      const decoded = table[encode(value)]!;
      error += (decoded - value) ** 2;
      power += value ** 2;
      dot += value * decoded;
      decodedPower += decoded ** 2;
      if (Math.sign(decoded) === Math.sign(value)) signs++;
    }
    const relative = codecName === 'log8' ? `${(100 * Math.sqrt(error / power)).toFixed(1)} %` : 'no scale';
    const cosine = dot / Math.sqrt(power * decodedPower);
    console.log(
      name.padEnd(34),
      codecName.padEnd(7),
      relative.padEnd(19),
      cosine.toFixed(4),
      ` ${((100 * signs) / COUNT).toFixed(1)} %`,
    );
  }
}
