/** The rows of who is in, and who was. Pure. */
import { strip } from './chart.ts';
import { count, plural } from './format.ts';
import type { MemberRow, ViewModel } from './model.ts';
import { columns, left, type Paint, right } from './text.ts';

/** A heading, then a row per worker: those who are in first. */
export function workers(model: ViewModel, width: number, paint: Paint): string[] {
  if (model.members.length === 0) return [];
  const here = model.members.filter((row) => row.state === 'in');
  const away = model.members.filter((row) => row.state !== 'in');
  const ordered = [...here, ...away];
  const widest = (texts: readonly string[], most: number): number =>
    Math.min(most, Math.max(...texts.map((text) => columns(text))));
  const grouped = ordered.some((row) => row.group !== '');
  const nameWidth = Math.max(
    8,
    widest(
      ordered.map((row) => row.name),
      28,
    ),
  );
  const groupWidth = grouped
    ? Math.max(
        5,
        widest(
          ordered.map((row) => row.group),
          20,
        ),
      ) + 2
    : 0;
  const used = 2 + nameWidth + 2 + groupWidth + 9 + 9 + 9 + 2;
  const stripWidth = Math.max(0, Math.min(32, width - used));
  const most = Math.max(1, ...ordered.flatMap((row) => row.recent));
  const heading = `  ${left(plural(here.length, 'worker'), nameWidth + 2)}${grouped ? left('group', groupWidth) : ''}`;
  const lines = [paint.dim(`${heading}${right('probes', 9)}${right('last', 9)}${right('missed', 9)}`)];
  for (const row of ordered) {
    const body =
      left(row.name, nameWidth + 2) +
      (grouped ? left(row.group, groupWidth) : '') +
      right(count(row.probes), 9) +
      right(row.last < 0 ? '–' : count(row.last), 9);
    const missed = right(count(row.missed), 9);
    const missedText = row.missed > 0 ? paint.yellow(missed) : paint.dim(missed);
    const history = stripWidth < 8 ? '' : `  ${strip(row.recent.slice(-stripWidth), most)}`;
    lines.push(
      row.state === 'in'
        ? `${mark(row, model, paint)} ${body}${missedText}${paint.cyan(history)}`
        : `${mark(row, model, paint)} ${paint.dim(`${body}${missed}  ${row.state}`)}`,
    );
  }
  return lines;
}

function mark(row: MemberRow, model: ViewModel, paint: Paint): string {
  if (row.state === 'left') return paint.dim('○');
  if (row.state === 'lost') return paint.red('○');
  // Its latest round is the run's latest: it keeps up.
  return row.last >= model.rounds - 1 || row.last < 0 ? paint.green('●') : paint.yellow('●');
}

/** As many rows as there is room for, the heading first; the last line tells how many are left out. */
export function cutRows(rows: readonly string[], room: number, paint: Paint): string[] {
  const people = rows.length - 1;
  if (rows.length <= room) return [...rows];
  if (room < 4) return [paint.dim(`  ${plural(people, 'worker')}`)];
  const shown = room - 2;
  return [...rows.slice(0, shown + 1), paint.dim(`  and ${count(people - shown)} more`)];
}
