"""scispacy 0.6 (Neumann et al., 2019) as this repository's second backend runs it: its candidate generator and entity linker.

Its trained pipelines are not on PyPI, and without one nothing recognises entities: the backend then takes runs of up to five
words that nearly equal a name. These figures say nothing of scispacy with a trained pipeline.
"""

from __future__ import annotations

from functools import partial

from peers.nbclip import build, load
from peers.worker import main

if __name__ == "__main__":
    main(build, partial(load, name="scispacy"))
