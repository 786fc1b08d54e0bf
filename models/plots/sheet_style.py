"""The one style of contact sheets: light and dark, phone to wall, screen and paper."""

import base64
import hashlib

from models.plots.palette import CLASS_COLORS, INKS, Theme

_RULES = """
*{box-sizing:border-box}
html{font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;
-webkit-text-size-adjust:100%;color-scheme:light dark}
body{margin:0 auto;max-width:120rem;padding:2rem clamp(1rem,3vw,3rem) 3rem;background:var(--ground);
color:var(--text);overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .25rem;letter-spacing:-.015em}
h2{font-size:1.1rem;margin:2.2rem 0 .8rem}
h3{font-size:1rem;margin:0;font-weight:600;min-width:0}
p{margin:0}
.quiet{color:var(--quiet)}
a{color:var(--link);text-underline-offset:.15em}
a:focus-visible,summary:focus-visible{outline:3px solid var(--link);outline-offset:2px;
border-radius:3px}
.totals{display:flex;flex-wrap:wrap;gap:.75rem;margin:1.4rem 0 0}
.totals div{flex:1 1 8.5rem;background:var(--page);border:1px solid var(--line);
border-radius:.7rem;padding:.7rem .95rem}
.totals dt{color:var(--quiet);font-size:.85rem}
.totals dd{margin:0;font-size:1.5rem;font-weight:600;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.labels{list-style:none;margin:.9rem 0 0;padding:0;display:flex;flex-wrap:wrap;gap:.5rem}
.labels li{display:flex;gap:.5rem;align-items:center;background:var(--page);
border:1px solid var(--line);border-radius:2rem;padding:.2rem .8rem .2rem .65rem;font-size:.9rem}
.dot{flex:none;display:inline-block;width:.7em;height:.7em;border-radius:.2em;background:var(--k)}
.cards{list-style:none;margin:0;padding:0;display:grid;gap:1rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,36rem),1fr))}
.card{background:var(--page);border:1px solid var(--line);border-radius:.9rem;overflow:hidden}
.card .in{padding:.95rem 1.1rem 1rem}
.top{display:flex;flex-wrap:wrap;gap:.1rem 1rem;justify-content:space-between;
align-items:baseline}
.facts{font-size:.85rem;color:var(--quiet);font-variant-numeric:tabular-nums}
.posters{display:block;width:100%;height:auto;background:var(--lane)}
.lanes{display:grid;grid-template-columns:minmax(4.5rem,max-content) minmax(0,1fr) max-content;
gap:.3rem .7rem;align-items:center;margin-top:.8rem;font-size:.9rem}
.lane{display:grid;grid-column:1/-1;grid-template-columns:subgrid;align-items:center}
.lanes .of{display:flex;gap:.45rem;align-items:center;max-width:10rem}
.lanes .sum{font-size:.8rem;color:var(--quiet);font-variant-numeric:tabular-nums}
.bars{display:block;width:100%;height:1.15rem;border-radius:.3rem;background:var(--lane)}
.bars rect{fill:var(--k)}
.ends{grid-column:2;display:flex;justify-content:space-between;font-size:.75rem;
color:var(--quiet);font-variant-numeric:tabular-nums}
.none{margin-top:.8rem;padding:.55rem .8rem;border-radius:.5rem;background:var(--lane);
color:var(--quiet);font-size:.9rem}
.note{margin-top:.6rem;font-size:.85rem;color:var(--quiet)}
details{margin-top:.7rem;font-size:.88rem}
summary{cursor:pointer;color:var(--quiet);width:max-content;max-width:100%}
table{border-collapse:collapse;width:100%;margin-top:.4rem}
th{text-align:left;font-weight:500;color:var(--quiet);font-size:.82rem}
th,td{padding:.25rem .7rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
.number{text-align:right;font-variant-numeric:tabular-nums}
.time{font-variant-numeric:tabular-nums;white-space:nowrap}
.failures{background:var(--page);border:1px solid var(--line);border-left:4px solid var(--bad);
border-radius:.7rem;padding:.4rem 1.1rem .8rem}
.failures td:first-child{width:32%}
code{font:.86em ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
.pages{display:flex;flex-wrap:wrap;gap:.6rem 1.4rem;margin:1.6rem 0 0}
footer{margin-top:2rem;font-size:.82rem;color:var(--quiet)}
@media (max-width:32rem){body{padding-top:1.2rem}.card .in{padding:.8rem .9rem}
.lanes{grid-template-columns:minmax(0,1fr) max-content;gap:.45rem .7rem}.lane{row-gap:.15rem}
.lanes .bars{grid-column:1/-1;grid-row:2}.lanes .of{max-width:none}.ends{grid-column:1/-1}
.totals dd{font-size:1.25rem}
.failures td,.failures th{display:block;border:0;padding:.05rem 0}.failures thead{display:none}
.failures td:first-child{width:auto;margin-top:.6rem;font-weight:600}}
@media (min-width:150rem){html{font-size:20px}body{max-width:190rem}}
@media print{html{font-size:9.5pt;color-scheme:light}body{padding:0;max-width:none;background:#fff}
.cards{grid-template-columns:1fr 1fr}.card,.failures tr{break-inside:avoid}
.pages,summary{display:none}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


def _variables(theme: Theme) -> str:
    inks = INKS[theme]
    ground, link, bad = {
        "light": ("#f6f7f9", "#0b57d0", "#ac2631"),
        "dark": ("#0f1116", "#8ab8ff", "#ffaba7"),
    }[theme]
    root = (
        f":root{{--ground:{ground};--page:{inks.page};--lane:{inks.lane};--line:{inks.line};"
        f"--text:{inks.text};--quiet:{inks.quiet};--link:{link};--bad:{bad}}}"
    )
    slots = (f".k{slot}{{--k:{color}}}" for slot, color in enumerate(CLASS_COLORS[theme]))
    return root + "".join(slots)


SHEET_STYLE = (
    _variables("light")
    + f"@media screen and (prefers-color-scheme:dark){{{_variables('dark')}}}"
    + _RULES
)


def style_source(style: str) -> str:
    """Return how a content security policy names a style.

    Source: W3C Content Security Policy Level 3, hash-source.
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"


SHEET_POLICY = (
    f"default-src 'none'; style-src {style_source(SHEET_STYLE)}; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
"""What a sheet may do: show its own style and pictures. It holds no script."""
