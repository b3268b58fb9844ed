"""Texts with choices: `{red|blue} car` is one of two texts on ComfyUI's page, which throws dice at every run. PURE.

The first choice is taken here, so that one document is always one graph. Comments are left out, and a backslash before
a brace or a bar makes it stand for itself, as on the page. (`processDynamicPrompt` of ComfyUI's frontend)
"""

from __future__ import annotations

import re
from typing import Final

_COMMENT: Final = re.compile(r"/\*.*?\*/|//[^\n\r\u2028\u2029]*", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([{}|])")


def first_choice(text: str) -> str:
    text = _COMMENT.sub("", text)
    if "{" not in text:
        return _ESCAPED.sub(r"\1", text)
    kept: list[str] = []
    later = 0
    """How many of the open braces are beyond their first choice."""
    open_braces: list[bool] = []
    place = 0
    while place < len(text):
        sign = text[place]
        length = 2 if sign == "\\" else 1
        if sign == "{":
            open_braces.append(False)
        elif sign == "}" and open_braces:
            later -= open_braces.pop()
        elif sign == "|" and open_braces:
            later += not open_braces[-1]
            open_braces[-1] = True
        elif not later:
            kept.append(text[place : place + length])
        place += length
    return _ESCAPED.sub(r"\1", "".join(kept))
