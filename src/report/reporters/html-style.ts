/** Style sheet of the HTML report; colours are variables, so that light and dark differ in one place. */
export const STYLE = `
:root { color-scheme: light dark; --page: #fbfbfa; --panel: #fff; --ink: #1d2126; --muted: #667079; --line: #e3e5e8;
  --first: #9aa7b5; --second: #1f6feb; --good: #1a7f37; --bad: #c62828; --warn: #9a6700; --band: #1f6feb1f; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --panel: #1b1f23; --ink: #e4e7ea; --muted: #939ca6;
  --line: #2d3339; --first: #6b7885; --second: #58a6ff; --good: #4ac26b; --bad: #ff7b72; --warn: #d8a634; --band: #58a6ff26; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 28px 20px; }
h1 { font-size: 22px; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 17px; margin: 0 0 8px; }
h3 { font-size: 14px; margin: 18px 0 4px; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
header p, section > p { margin: 2px 0 12px; }
.muted { color: var(--muted); font-size: 13px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 18px 0; }
.card, section { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; }
.card .value { font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums; }
.card.good .value, td.good { color: var(--good); } .card.bad .value, td.bad { color: var(--bad); }
.card.warn .value, td.warn { color: var(--warn); } td.bad, td.warn { font-weight: 600; } td.muted { font-size: inherit; }
section { margin: 16px 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th { color: var(--muted); font-weight: 500; font-size: 13px; } th, td { padding: 4px 10px; white-space: pre; }
td { border-top: 1px solid var(--line); } .left { text-align: left; } .right { text-align: right; }
td.left:last-child { white-space: normal; }
figure { margin: 8px 0 16px; } svg { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: var(--muted); } line.grid { stroke: var(--line); } line.axis { stroke: var(--muted); }
rect.series-0, circle.series-0 { fill: var(--first); } rect.series-1, circle.series-1 { fill: var(--second); }
polyline { fill: none; stroke-width: 1.5; } polyline.series-0 { stroke: var(--first); } polyline.series-1 { stroke: var(--second); }
rect.range { fill: var(--band); }
figcaption { display: flex; gap: 16px; } figcaption .text { flex: 1; } .key { white-space: nowrap; }
.key i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px; }
i.series-0 { background: var(--first); } i.series-1 { background: var(--second); }
footer { margin-top: 20px; }
`.trim();
