"""Mathematics as MathML when the site is built: browsers draw it without scripts."""

import html
import re

from latex2mathml.converter import convert


def on_page_content(content: str, **_) -> str:
    def draw(match: re.Match[str]) -> str:
        display = "block" if match["tag"] == "div" else "inline"
        # The converter knows aligned lines by their other name.
        latex = html.unescape(match["latex"]).replace("{aligned}", "{split}")
        math = convert(latex, display=display)
        # As TeX has it: no space inside bars, a little around the names of functions.
        bar = r"<mo(?![^>]*form)[^>]*>(&#x0007C;|&#x02016;)"
        tight = r'<mo stretchy="false" lspace="0" rspace="0">\1'
        loose = r'<mo lspace="0.167em" rspace="0.167em">\1</mo>'
        math = re.sub(r"<mi>([a-z]{2,})</mi>", loose, re.sub(bar, tight, math))
        # The box is kept, with the comma after it: extra.css keeps these together, and
        # the theme lets a wide formula scroll in it.
        return f"{match['open']}{math}{match['comma']}{match['close']}"

    pattern = (
        r'(?P<open><(?P<tag>div|span) class="arithmatex">)\\[(\[](?P<latex>.*?)\\[)\]]'
        r"(?P<close></(?P=tag)>)(?P<comma>[.,;:?!)]*)"
    )
    return re.sub(pattern, draw, content, flags=re.DOTALL)
