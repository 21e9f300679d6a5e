"""The look of a report's page: narrow and wide, light and dark, and printed."""

STYLE = """
:root { --ink: #1b1f24; --paper: #ffffff; --card: #f4f6f8; --line: #c9d1d9;
  --soft: #57606a; --mark: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --card: #161b22; --line: #3d444d;
    --soft: #9da7b3; --mark: #79b8ff; }
}
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.7rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; padding-bottom: .2rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0; color: var(--soft); font-weight: 600; }
h4 { font-size: .95rem; margin: 1.2rem 0 .4rem; overflow-wrap: anywhere; }
p { margin: .4rem 0; max-width: 75ch; overflow-wrap: anywhere; }
li { overflow-wrap: anywhere; }
.note, footer { color: var(--soft); font-size: .9rem; }
footer { margin: 2rem 0 1rem; }
.verdict { background: var(--card); border: 1px solid var(--line);
  border-left: 5px solid var(--mark); border-radius: 6px;
  padding: 12px 16px; margin: 12px 0; }
.outcome { font-size: 1.25rem; font-weight: 700; margin: .1rem 0 .4rem; }
.figures { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 20px;
  margin: .6rem 0 0; padding: 0; font-size: .85rem; color: var(--soft); }
.figures span { font-weight: 600; color: var(--ink); }
.table { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line);
  text-align: left; vertical-align: top; }
td { white-space: nowrap; }
thead th { white-space: nowrap; color: var(--soft); font-weight: 600; }
tbody th { font-weight: 600; min-width: 5em; }
.pictures { display: flex; flex-wrap: wrap; gap: 12px; margin: .8rem 0;
  align-items: flex-start; }
.picture { margin: 0; padding: 10px; background: #ffffff; max-width: 100%;
  border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; }
.picture img { display: block; max-width: 100%; height: auto; }
figcaption { color: #333; font-size: .9rem; text-align: center; }
@media print {
  :root { --ink: #000; --paper: #fff; --card: #fff; --line: #999;
    --soft: #333; --mark: #000; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h2, h3, h4 { break-after: avoid; }
  .verdict, .picture, tr, li { break-inside: avoid; }
  .table, .picture { overflow: visible; }
  .picture img { min-width: 0 !important; }
  td, thead th { white-space: normal; }
}
"""
