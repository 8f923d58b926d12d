/** The report's style sheet: one column of quiet type, hairlines, three colours; light, dark and on paper. */
export const STYLE = `
:root{color-scheme:light dark;--paper:#fff;--ink:#16191d;--soft:#5c6570;--faint:#8b949e;--line:#e4e7eb;--grid:#eceef1;--fill:#f6f7f9;
--train:#2f5fd0;--validation:#c2570c;--test:#16191d;--missed:#d1334a;--theirs:#a9b1bb}
@media (prefers-color-scheme:dark){:root{--paper:#131519;--ink:#e8eaed;--soft:#a0a8b2;--faint:#727b86;--line:#2b3037;--grid:#23272d;--fill:#1a1d22;
--train:#7fa6ff;--validation:#f0a05a;--test:#e8eaed;--missed:#ff6b7f;--theirs:#59626d}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Liberation Sans",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1120px;margin:0 auto;padding:48px 32px 64px}
header{margin-bottom:32px}
h1{font-size:34px;line-height:1.15;font-weight:650;letter-spacing:-.02em;margin:0 0 6px;overflow-wrap:anywhere}
header p{margin:0;color:var(--soft);overflow-wrap:anywhere}
h2{font-size:17px;font-weight:650;letter-spacing:-.005em;margin:0 0 16px}
section{border-top:1px solid var(--line);padding:28px 0 0;margin:0 0 36px}
small{font-size:12.5px;color:var(--soft);font-weight:400}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:12.5px}
pre{background:var(--fill);border-radius:6px;padding:14px 16px;margin:0;overflow-x:auto;line-height:1.55;white-space:pre-wrap;overflow-wrap:anywhere}
.note,.none{color:var(--soft);font-size:13px;margin:12px 0 0;max-width:78ch}
dl.figures{display:grid;grid-template-columns:repeat(6,1fr);gap:24px 20px;margin:0;border-top:1px solid var(--line);padding-top:20px}
dl.figures div{min-width:0}
dl.figures dt{color:var(--soft);font-size:13px}
dl.figures dd{margin:2px 0 0;font-size:26px;line-height:1.2;font-weight:600;letter-spacing:-.015em;white-space:nowrap}
dl.figures dd small{display:block;font-size:13px;letter-spacing:0;margin-top:3px;white-space:normal;line-height:1.35}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:36px;align-items:end}
figure{margin:0;min-width:0}
figcaption{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 16px;font-size:13px;color:var(--soft);min-height:20px}
figcaption .title{color:var(--ink);font-weight:600;font-size:14px}
b{font-weight:600;color:var(--ink)}
.key{white-space:nowrap}
.key i{display:inline-block;width:12px;height:3px;border-radius:1px;margin-right:6px;vertical-align:middle;position:relative;top:-1px;background:currentColor}
.key.train i{background:var(--train)}.key.validation i{background:var(--validation)}
.key.test i{width:9px;height:9px;border-radius:50%;background:var(--paper);border:2px solid var(--test)}
.key.ran i,.key.missed i{width:10px;height:10px;border-radius:0}.key.ran i{background:var(--train)}.key.missed i{background:var(--missed)}
.key.ran{margin-right:14px}
.canvas{position:relative;height:230px;margin:28px 14px 26px 46px}
.canvas svg{display:block;width:100%;height:100%;overflow:hidden}
svg path{fill:none;vector-effect:non-scaling-stroke}
path.grid{stroke:var(--grid);stroke-width:1}
path.mark{stroke:var(--faint);stroke-width:1;stroke-dasharray:2 3}
path.line{stroke-width:1.75;stroke-linejoin:round;stroke-linecap:round}
path.line.train{stroke:var(--train)}path.line.validation{stroke:var(--validation)}path.line.test{stroke:var(--test)}
path.band{fill:var(--train);opacity:.2}
.tick{position:absolute;font-size:12px;color:var(--soft);line-height:1;white-space:nowrap}
.tick.y{right:100%;margin-right:9px;transform:translateY(-50%)}
.tick.x{top:100%;margin-top:8px;transform:translateX(-50%)}
.stage{position:absolute;bottom:100%;margin-bottom:5px;padding-left:6px;font-size:12px;line-height:1.2;color:var(--soft);white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.dot{position:absolute;width:6px;height:6px;margin:-3px 0 0 -3px;border-radius:50%;background:var(--validation)}
.dot.test{width:9px;height:9px;margin:-4.5px 0 0 -4.5px;background:var(--paper);border:2px solid var(--test)}
.cursor{position:absolute;top:0;bottom:0;width:1px;background:var(--faint);pointer-events:none}
.at{position:absolute;top:100%;left:0;transform:translateX(-50%);margin-top:5px;padding:3px 6px;font-size:12px;line-height:1;white-space:nowrap;background:var(--paper)}
[hidden]{display:none!important}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:right;padding:7px 0 7px 20px;border-bottom:1px solid var(--line);font-weight:400;white-space:nowrap;vertical-align:middle}
th:first-child{text-align:left;padding-left:0}
thead th{color:var(--soft);font-size:12.5px;padding-top:0;vertical-align:bottom}
tbody th{font-weight:500;overflow-wrap:anywhere;white-space:normal}
tbody th small{display:block}
tr.part th{padding-left:16px;font-weight:400;color:var(--soft)}
tr.whole td{font-weight:500}
td.from{color:var(--soft);font-weight:400!important}
td.warn{color:var(--missed)}td.zero{color:var(--faint)}
th.wide{text-align:left}
.scroll{overflow-x:auto}
.people tbody th{min-width:8.5em}
.people .strip{width:44%;min-width:200px;padding-top:5px;padding-bottom:5px}
.people .strip svg{display:block;width:100%;height:22px;background:var(--fill)}
path.ran{fill:var(--train);opacity:.85}path.missed{fill:var(--missed)}
tr.axis th,tr.axis td{border:0;padding-top:0;padding-bottom:0}
tr.axis .strip div{position:relative;height:22px}
tr.axis .tick.x{top:0;margin-top:5px}tr.axis .tick.x:first-child{transform:none}
.bytes .scale{width:38%}
.bytes .scale i{display:block;height:10px;background:var(--train);min-width:2px}
tr.decades td.scale{position:relative;height:26px;padding:0}.bytes tr.decades td,.bytes tr.decades th{border:0}
tr.decades div{position:relative;margin-left:20px;height:26px}tr.decades .tick.x{top:0}tr.decades .tick.x:first-child{transform:none}tr.decades .tick.x.end{transform:translateX(-100%)}
.bytes .theirs .scale i{background:var(--theirs)}
dl.digests{margin:18px 0 0;display:grid;grid-template-columns:max-content 1fr;gap:6px 24px;font-size:14px}
dl.digests dt{color:var(--soft)}
dl.digests dd{margin:0;min-width:0}
dl.digests code{overflow-wrap:anywhere}
ul.events{list-style:none;margin:0;padding:0;font-size:14px;columns:2;column-gap:36px}
ul.events li{padding:3px 0;break-inside:avoid;overflow-wrap:anywhere}
ul.events span{display:inline-block;min-width:64px;color:var(--soft);margin-right:10px}
ul.events .warning{color:var(--validation)}ul.events .error{color:var(--missed)}
footer{color:var(--faint);font-size:12.5px;border-top:1px solid var(--line);padding-top:14px}
@media (max-width:1000px){.pair{grid-template-columns:1fr;gap:28px}dl.figures{grid-template-columns:repeat(3,1fr)}}
@media (max-width:900px){.people th:last-child,.people td.span{display:none}.people .strip{width:40%}.people th,.people td{padding-left:14px}.people th:first-child{padding-left:0}}
@media (max-width:640px){main{padding:28px 18px 40px}dl.figures{grid-template-columns:1fr 1fr}ul.events{columns:1}dl.digests{grid-template-columns:1fr;gap:2px}dl.digests dd{margin-bottom:8px}}
@media print{:root{--paper:#fff;--ink:#000;--soft:#444;--faint:#666;--line:#ccc;--grid:#e6e6e6;--fill:#f4f4f4;--train:#2f5fd0;--validation:#b04a05;--test:#000;--missed:#c01f38;--theirs:#a9b1bb}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{font-size:10.5pt}main{max-width:none;padding:0}.canvas{height:180px}.pair{grid-template-columns:1fr 1fr;gap:20px}dl.figures{grid-template-columns:repeat(6,1fr)}dl.figures dd{font-size:17pt}
figure,tr,dl.figures,pre.command{break-inside:avoid}h2{break-after:avoid}section{margin-bottom:20px;padding-top:18px}.cursor{display:none}@page{margin:16mm}}
`;

/** Values under the pointer. Everything reads without it. */
export const SCRIPT = `
for (const figure of document.querySelectorAll('[data-plot]')) {
  const plot = JSON.parse(figure.dataset.plot);
  const canvas = figure.querySelector('.canvas');
  const cursor = figure.querySelector('.cursor');
  const at = figure.querySelector('.at');
  const shown = Array.from(figure.querySelectorAll('[data-line]'));
  const last = shown.map((element) => element.textContent);
  const nearest = (rounds, round) => {
    let best = 0;
    for (let i = 1; i < rounds.length; i += 1) if (Math.abs(rounds[i] - round) < Math.abs(rounds[best] - round)) best = i;
    return best;
  };
  canvas.addEventListener('pointermove', (event) => {
    const box = canvas.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const round = Math.round(share * plot.span);
    cursor.hidden = false;
    cursor.style.left = share * 100 + '%';
    at.textContent = 'round ' + round;
    plot.lines.forEach((line, i) => { shown[i].textContent = line.text[nearest(line.at, round)]; });
  });
  canvas.addEventListener('pointerleave', () => {
    cursor.hidden = true;
    shown.forEach((element, i) => { element.textContent = last[i]; });
  });
}
`;
