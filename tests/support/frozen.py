"""The last module that the server of warm starts imports.

What it has made stays as it is in every process that is forked from it. The garbage collector looks at none of it
again, which would also copy its pages.
"""

from __future__ import annotations

import gc

from support.installed import read_once

read_once()
gc.collect()
gc.freeze()
