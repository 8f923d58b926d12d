/** Numbers as people read them, the same in the terminal, in the report and in the plain lines. */

const DASH = '–';

/** 1234567 -> `1,234,567`; not a number -> a dash. */
export function count(value: number): string {
  if (!Number.isFinite(value)) return DASH;
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

function scaled(value: number, units: readonly string[], space: string): string {
  let unit = 0;
  let rest = value;
  // 999.5 would print as 1000 of the smaller unit.
  while (Math.abs(rest) >= 999.5 && unit < units.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || Math.abs(rest) >= 99.95 ? 0 : Math.abs(rest) >= 9.995 ? 1 : 2;
  const suffix = units[unit];
  return `${rest.toFixed(digits)}${suffix === '' ? '' : space + suffix}`;
}

/** How many probes share a byte of the payload, in words. */
export function payloadText({ probes, payloadBytes }: { probes: number; payloadBytes: number }): string {
  if (payloadBytes >= probes) return 'one byte per probe';
  return `${(probes / payloadBytes).toFixed(1)} probes to a byte`;
}

/** Decimal units, three significant digits: `982 B`, `13.6 kB`, `1.21 GB`. */
export function bytes(value: number): string {
  return Number.isFinite(value) ? scaled(value, ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'], ' ') : DASH;
}

/** Three significant digits: `770`, `394 k`, `22.7 M`. */
export function compact(value: number): string {
  return Number.isFinite(value) ? scaled(value, ['', 'k', 'M', 'G', 'T'], ' ') : DASH;
}

/** Events per second: `0.42`, `14.2`, `7,270`. */
export function rate(value: number): string {
  if (!Number.isFinite(value)) return DASH;
  if (value >= 100) return count(value);
  return value.toFixed(value >= 9.95 ? 1 : 2);
}

/** A loss, four decimals; large ones shorter. */
export function loss(value: number): string {
  if (!Number.isFinite(value)) return DASH;
  const size = Math.abs(value);
  if (size >= 1e6) return value.toExponential(1);
  return value.toFixed(size >= 1000 ? 0 : size >= 99.995 ? 1 : size >= 9.9995 ? 2 : 4);
}

/** A share of one such as an accuracy, three decimals. */
export function metric(value: number): string {
  if (!Number.isFinite(value)) return DASH;
  return Math.abs(value) >= 1000 ? value.toExponential(2) : value.toFixed(3);
}

/** Seconds as `0:07`, `12:30`, `3:05:00`, `2 d 4 h`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return DASH;
  const whole = Math.max(0, Math.round(seconds));
  if (whole >= 48 * 3600) return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
  const two = (n: number): string => String(n).padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/** A share in percent, never 100 % before it is whole. */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return DASH;
  const value = Math.min(1, Math.max(0, share)) * 100;
  return `${value < 100 ? Math.min(99, Math.floor(value)) : 100} %`;
}

/** `1 worker`, `4 workers`. */
export function plural(n: number, noun: string): string {
  return `${count(n)} ${noun}${n === 1 ? '' : 's'}`;
}

/** The last part of a model's address: `hf://sentence-transformers/all-MiniLM-L6-v2` -> `all-MiniLM-L6-v2`. */
export function modelName(uri: string): string {
  const parts = uri
    .split(/[?#]/)[0]!
    .split('/')
    .filter((part) => part !== '');
  return parts.at(-1) ?? uri;
}
