"""How the page looks: system fonts, light or dark as the reader's device is set."""

CSS = """
:root { color-scheme: light dark; --text: #1c2024; --soft: #5b646d; --line: #d9dee3;
  --panel: #f5f7f9; --paper: #ffffff; --accent: #0072b2; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --soft: #a3acb5; --line: #3a424a; --panel: #20262c;
    --paper: #15191d; --accent: #56b4e9; --bad: #ff8a80; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--text); overflow-wrap: anywhere;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 1.3rem; margin: 48px 0 8px; padding-top: 16px; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 32px 0 8px; }
p, ul, dl { margin: 8px 0; max-width: 78ch; }
ul { padding-left: 20px; }
a { color: var(--accent); }
small { font-size: .92em; color: var(--soft); }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.headline { margin: 16px 0; padding: 14px 18px; max-width: none; font-size: 1.1rem;
  background: var(--panel); border-left: 4px solid var(--accent); border-radius: 4px; }
.headline p { margin: 4px 0; max-width: none; }
.scroll { overflow-x: auto; margin: 8px 0; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .85rem;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 7px 7px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
thead th { background: var(--panel); white-space: normal; vertical-align: bottom;
  line-height: 1.3; }
tbody tr:last-child > * { border-bottom: 0; }
tbody th { font-weight: 500; }
.names1 tr > :nth-child(1), .names2 tr > :nth-child(-n+2) { text-align: left; }
figure { margin: 16px 0; }
img { display: block; width: 100%; height: auto; background: #fff; border-radius: 6px;
  border: 1px solid var(--line); }
pre { margin: 8px 0; padding: 12px 14px; overflow-x: auto; background: var(--panel);
  border-radius: 6px; font-size: .85rem; line-height: 1.45; overflow-wrap: normal; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
details { margin: 8px 0; }
summary { cursor: pointer; }
.failed > li { margin: 12px 0; }
.cause { color: var(--bad); }
@media (max-width: 600px) {
  main { padding: 16px 12px 48px; }
  h1 { font-size: 1.4rem; }
  .headline { font-size: 1rem; padding: 12px 14px; }
  figure { overflow-x: auto; }
  figure img { min-width: 640px; }
}
"""
