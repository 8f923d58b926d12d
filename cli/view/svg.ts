/**
 * Terminal lines as a picture: what the live view printed, for a page that shows it. Block, box and Braille characters
 * are drawn as shapes, for their glyphs differ from font to font; everything else is text on a fixed grid.
 */
import { columns } from './text.ts';

const CELL = { width: 8.4, height: 19 } as const;
const FONT_SIZE = 14;
const MARGIN = 20;
const COLOURS: Readonly<Record<number, string>> = {
  31: '#f47067',
  32: '#57ab5a',
  33: '#daaa3f',
  34: '#539bf5',
  35: '#b083f0',
  36: '#39c5cf',
};
const THEME = { paper: '#16191e', ink: '#dfe3e8', dim: '#7d8590' } as const;
const GRAPHEMES = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

interface Style {
  readonly colour: string | null;
  readonly bold: boolean;
  readonly dim: boolean;
}

const PLAIN: Style = { colour: null, bold: false, dim: false };

interface Run {
  readonly text: string;
  readonly style: Style;
}

function restyled(style: Style, codes: readonly number[]): Style {
  let next = style;
  for (const code of codes) {
    if (code === 0) next = PLAIN;
    else if (code === 1) next = { ...next, bold: true };
    else if (code === 2) next = { ...next, dim: true };
    else if (code === 22) next = { ...next, bold: false, dim: false };
    else if (code === 39) next = { ...next, colour: null };
    else if (COLOURS[code] !== undefined) next = { ...next, colour: COLOURS[code] };
  }
  return next;
}

/** The coloured pieces of one line, which begins in `style`; codes other than colours and weights are dropped. */
function runsOf(line: string, begin: Style): { readonly runs: readonly Run[]; readonly end: Style } {
  const runs: Run[] = [];
  let style = begin;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ESC starts a colour code
  for (const part of line.split(/(\x1b\[[0-9;?]*[A-Za-z])/)) {
    if (part.startsWith('\x1b')) {
      const codes = part.endsWith('m') ? part.slice(2, -1).split(';').map(Number) : [];
      style = restyled(style, codes);
    } else if (part !== '') runs.push({ text: part, style });
  }
  return { runs, end: style };
}

function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

const n = (value: number): string => String(Number(value.toFixed(2)));

function box(x: number, y: number, width: number, height: number): string {
  return `M${n(x)} ${n(y)}h${n(width)}v${n(height)}h${n(-width)}z`;
}

function brailleDots(bits: number, x: number, y: number): string {
  const rows = [
    [0x01, 0x08],
    [0x02, 0x10],
    [0x04, 0x20],
    [0x40, 0x80],
  ] as const;
  const radius = 1.4;
  return rows
    .flatMap((row, down) =>
      row.map((bit, across) => {
        if ((bits & bit) === 0) return '';
        const left = x + CELL.width * (0.25 + across * 0.5) - radius;
        const middle = y + (CELL.height * (down + 0.5)) / 4;
        return `M${n(left)} ${n(middle)}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0z`;
      }),
    )
    .join('');
}

/** From the middle of a cell: left, right, up, down; `h`, `l+`: heavy, whole and half; `v`: dotted. */
const BOX_LINES: Readonly<Record<string, string>> = {
  '─': 'lr',
  '│': 'ud',
  '┤': 'lud',
  '└': 'ru',
  '┊': 'v',
  '━': 'h',
  '╸': 'l+',
};

function boxLines(kind: string, x: number, y: number): string {
  const [middle, centre, thin] = [x + CELL.width / 2, y + CELL.height / 2, 1];
  if (kind === 'v') {
    return [0.12, 0.45, 0.78]
      .map((at) => box(middle - 0.5, y + CELL.height * at, thin, CELL.height * 0.13))
      .join('');
  }
  if (kind === 'h' || kind === 'l+')
    return box(x, centre - 1.5, kind === 'h' ? CELL.width + 0.05 : CELL.width / 2, 3);
  const parts: Readonly<Record<string, string>> = {
    l: box(x, centre - 0.5, CELL.width / 2, thin),
    r: box(middle, centre - 0.5, CELL.width / 2, thin),
    u: box(middle - 0.5, y, thin, CELL.height / 2 + 0.5),
    d: box(middle - 0.5, centre - 0.5, thin, CELL.height / 2 + 0.5),
  };
  return Array.from(kind, (side) => parts[side] ?? '').join('');
}

/** The path of a character that is a shape, null of one that is text. */
function shape(character: string, x: number, y: number): string | null {
  const point = character.codePointAt(0)!;
  if (point > 0x2800 && point <= 0x28ff) return brailleDots(point - 0x2800, x, y);
  if (point >= 0x2581 && point <= 0x2588) {
    const height = (CELL.height * (point - 0x2580)) / 8;
    return box(x, y + CELL.height - height, CELL.width + 0.05, height);
  }
  if (point >= 0x2589 && point <= 0x258f) return box(x, y, (CELL.width * (0x2590 - point)) / 8, CELL.height);
  const lines = BOX_LINES[character];
  return lines === undefined ? null : boxLines(lines, x, y);
}

interface Drawn {
  readonly shapes: Map<string, string>;
  readonly texts: string[];
}

function drawRun(run: Run, start: number, y: number, drawn: Drawn): number {
  const fill = run.style.dim ? THEME.dim : (run.style.colour ?? THEME.ink);
  let column = start;
  let text = '';
  let textStart = start;
  const flush = (): void => {
    if (text.trim() !== '') {
      const leading = text.length - text.trimStart().length;
      const x = MARGIN + (textStart + leading) * CELL.width;
      const shown = text.trim();
      const wide = columns(shown) * CELL.width;
      const bold = run.style.bold ? ' font-weight="700"' : '';
      drawn.texts.push(
        `<text x="${n(x)}" y="${n(y + CELL.height * 0.73)}" fill="${fill}"${bold} textLength="${n(wide)}" lengthAdjust="spacingAndGlyphs">${escaped(shown)}</text>`,
      );
    }
    text = '';
  };
  for (const { segment } of GRAPHEMES.segment(run.text)) {
    const x = MARGIN + column * CELL.width;
    const path = shape(segment, x, y);
    if (path !== null) {
      flush();
      drawn.shapes.set(fill, (drawn.shapes.get(fill) ?? '') + path);
    } else {
      // Each stretch of text is placed by itself: several spaces in a row would collapse into one.
      if (segment === ' ' && text.endsWith(' ')) flush();
      if (text === '') textStart = column;
      text += segment;
    }
    column += columns(segment);
  }
  flush();
  return column;
}

/** A self-contained SVG of `lines`, which may carry colour codes. `title` is read out to who cannot see it. */
export function linesToSvg(lines: readonly string[], title: string): string {
  const widest = Math.max(1, ...lines.map((line) => columns(line)));
  const width = n(widest * CELL.width + 2 * MARGIN);
  const height = n(lines.length * CELL.height + 2 * MARGIN);
  const drawn: Drawn = { shapes: new Map(), texts: [] };
  // A terminal's colours outlast the line; so they do in what a multiplexer captures of its screen.
  let style = PLAIN;
  lines.forEach((line, row) => {
    let column = 0;
    const { runs, end } = runsOf(line, style);
    style = end;
    for (const run of runs) column = drawRun(run, column, MARGIN + row * CELL.height, drawn);
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" rx="8" fill="${THEME.paper}"/>
${[...drawn.shapes].map(([fill, d]) => `<path fill="${fill}" d="${d}"/>`).join('\n')}
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="${FONT_SIZE}">
${drawn.texts.join('\n')}
</g>
</svg>
`;
}
