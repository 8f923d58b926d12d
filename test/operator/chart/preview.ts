/**
 * Draws the dashboard as a page, from the JSON that Grafana would read and the data of a real Prometheus. Grafana itself is in
 * none of the registries that tests fetch from: this shows layout, legends, units and shapes, and nothing of Grafana's own code.
 */
import type { Prometheus, Series } from './prometheus.ts';

export interface Target {
  readonly expr: string;
  readonly legendFormat: string;
}

export interface Panel {
  readonly type: 'row' | 'timeseries' | 'stat' | 'state-timeline';
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly options?: { readonly textMode?: string };
  readonly targets?: readonly Target[];
}

export interface Dashboard {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export interface Drawn {
  readonly panel: Panel;
  readonly lines: readonly { readonly name: string; readonly series: Series }[];
}

export type Variables = Readonly<Record<string, string>>;

/** Asks Prometheus what every panel shows. */
export async function drawn(
  { panels }: Dashboard,
  prometheus: Prometheus,
  variables: Variables,
  seconds: number,
): Promise<Drawn[]> {
  const all: Drawn[] = [];
  for (const panel of panels) {
    const lines = [];
    for (const { expr, legendFormat } of panel.targets ?? [])
      for (const series of await prometheus.range(filled(expr, variables), seconds))
        lines.push({ name: legendOf(legendFormat, series), series });
    all.push({ panel, lines });
  }
  return all;
}

export function filled(text: string, variables: Variables): string {
  return Object.entries(variables).reduce((all, [name, value]) => all.replaceAll(`$${name}`, value), text);
}

function legendOf(format: string, { metric }: Series): string {
  return format.replace(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? '');
}

const UNIT = { width: 60, height: 34 };
const COLOURS = ['#7eb26d', '#eab839', '#6ed0e0', '#ef843c', '#e24d42', '#1f78c1', '#ba43a9', '#705da0'];

export function page({ title }: Dashboard, all: readonly Drawn[], variables: Variables): string {
  const bottom = Math.max(...all.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h));
  const boxes = all.map((one) => box(one, variables)).join('\n');
  return `<!doctype html><meta charset="utf-8"><title>${escaped(title)}</title><style>
body{margin:8px;background:#111217;color:#ccccdc;font:12px sans-serif;position:relative;height:${bottom * UNIT.height}px}
.panel{position:absolute;background:#181b1f;border:1px solid #2c3235;box-sizing:border-box;padding:6px;overflow:hidden}
.row{position:absolute;font-size:15px;padding-top:8px}.t{font-weight:600}.d{color:#8e8e9d;font-size:11px}
.big{font-size:30px;text-align:center;margin-top:8px;color:#73bf69}.l{font-size:11px}.l i{display:inline-block;width:10px;height:3px;margin:0 4px 2px 8px}
</style>${boxes}`;
}

function box({ panel, lines }: Drawn, variables: Variables): string {
  const { x, y, w, h } = panel.gridPos;
  const place = `left:${x * UNIT.width}px;top:${y * UNIT.height}px;width:${w * UNIT.width - 6}px`;
  const title = escaped(filled(panel.title, variables));
  if (panel.type === 'row') return `<div class="row" style="${place}">${title}</div>`;
  const size = { width: w * UNIT.width - 20, height: h * UNIT.height - 62 };
  const unit = panel.fieldConfig?.defaults.unit ?? '';
  const inside =
    lines.length === 0
      ? '<div class="big">No data</div>'
      : panel.type === 'stat'
        ? stat(panel, lines, unit)
        : panel.type === 'state-timeline'
          ? timeline(lines, size)
          : chart(lines, unit, size);
  const about = panel.type === 'stat' ? '' : `<div class="d">${escaped(panel.description ?? '')}</div>`;
  return `<div class="panel" style="${place};height:${h * UNIT.height - 6}px"><div class="t">${title}</div>${about}${inside}</div>`;
}

function stat({ options }: Panel, lines: Drawn['lines'], unit: string): string {
  // What the series that has the newest value says.
  const [newest] = [...lines].sort((a, b) => b.series.values.at(-1)![0] - a.series.values.at(-1)![0]);
  const { name, series } = newest!;
  const text = options?.textMode === 'name' ? name : valueText(series.values.at(-1)![1], unit);
  return `<div class="big">${escaped(text)}</div>`;
}

interface Size {
  readonly width: number;
  readonly height: number;
}

function chart(lines: Drawn['lines'], unit: string, { width, height }: Size): string {
  const points = lines.flatMap(({ series }) => series.values).filter(([, value]) => Number.isFinite(value));
  const times = points.map(([at]) => at);
  const values = points.map(([, value]) => value);
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const [low, high] = [Math.min(0, ...values), Math.max(...values, 1e-9)];
  const left = 64;
  const x = (at: number) => left + ((at - from) / (to - from || 1)) * (width - left);
  const y = (value: number) => height - 4 - ((value - low) / (high - low || 1)) * (height - 12);
  const paths = lines.map(({ series }, i) => {
    const path = series.values
      .filter(([, value]) => Number.isFinite(value))
      .map(([at, value], k) => `${k === 0 ? 'M' : 'L'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`)
      .join('');
    return `<path d="${path}" fill="none" stroke="${COLOURS[i % COLOURS.length]}" stroke-width="1.5"/>`;
  });
  const axis = [low, (low + high) / 2, high].map(
    (value) =>
      `<text x="0" y="${y(value).toFixed(1)}" fill="#8e8e9d" font-size="10">${valueText(value, unit)}</text>`,
  );
  return `<svg width="${width}" height="${height}">${axis.join('')}${paths.join('')}</svg>${legend(lines)}`;
}

function timeline(lines: Drawn['lines'], { width, height }: Size): string {
  const times = lines.flatMap(({ series }) => series.values.map(([at]) => at));
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const left = 120;
  const step = Math.min(26, height / lines.length);
  const bars = lines.map(({ name, series }, i) => {
    const cells = series.values.map(
      ([at, value]) =>
        `<rect x="${(left + ((at - from) / (to - from || 1)) * (width - left)).toFixed(1)}" y="${i * step}" width="${((width - left) / (to - from || 1) + 1).toFixed(1)}" height="${step - 4}" fill="${value > 0 ? '#73bf69' : '#3a3f45'}"/>`,
    );
    return `<text x="0" y="${i * step + 14}" fill="#ccccdc" font-size="11">${escaped(name)}</text>${cells.join('')}`;
  });
  return `<svg width="${width}" height="${height}">${bars.join('')}</svg>`;
}

function legend(lines: Drawn['lines']): string {
  const items = lines.map(
    ({ name }, i) => `<i style="background:${COLOURS[i % COLOURS.length]}"></i>${escaped(name)}`,
  );
  return `<div class="l">${items.join('')}</div>`;
}

/** A value in one of the units that the dashboard has. */
export function valueText(value: number, unit: string): string {
  const scaled = (base: number, names: readonly string[]) => {
    let [left, i] = [value, 0];
    while (Math.abs(left) >= base && i < names.length - 1) {
      left /= base;
      i++;
    }
    return `${Number(left.toPrecision(3))} ${names[i]}`;
  };
  if (unit === 'percentunit') return `${Math.round(100 * value)} %`;
  if (unit === 'bytes') return scaled(1_024, ['B', 'KiB', 'MiB', 'GiB']);
  if (unit === 'Bps') return scaled(1_000, ['B/s', 'kB/s', 'MB/s']);
  if (unit === 's' && Math.abs(value) < 1) return `${Number((1_000 * value).toPrecision(3))} ms`;
  if (unit === 's' && value >= 120) return `${(value / 60).toFixed(1)} min`;
  return `${Number(value.toPrecision(3))}${unit === 's' ? ' s' : ''}`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
