"""What runs around a linker under test: texts in, mentions and figures out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "benchmarks" / "linking"

# Prints, as some peers do, where mentions are expected.
PEER = """
import pathlib
from peers.worker import main, read_names, read_types

def build(rrf, texts, index):
    print("building")
    (index / "names").write_text("\\n".join(f"{name}={cui}" for cui, name, preferred in read_names(rrf) if preferred))
    (index / "types").write_text(repr(read_types(rrf)))

def load(index, settings):
    print("loading")
    names = dict(line.split("=") for line in (index / "names").read_text().splitlines())
    def link(texts):
        return [[(0, len(text), names[text], settings["score"])] if text in names else [] for text in texts]
    return link

main(build, load)
"""


def run(peer, *arguments, lines=""):
    command = [sys.executable, str(peer), *map(str, arguments)]
    environment = {"PYTHONPATH": str(FOLDER)}
    done = subprocess.run(command, input=lines, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_peer_builds_and_links_in_its_own_process(tmp_path):
    (tmp_path / "MRCONSO.RRF").write_text(
        "C0000001|ENG|P|L1|PF|S1|Y|A1||||MSH|PT|D1|lung|0|N||\nC0000001|ENG|S|L2|PF|S2|Y|A2||||MSH|ET|D1|lungs|0|N||\n"
    )
    (tmp_path / "MRSTY.RRF").write_text("C0000001|T023|A|Body Part|AT1||\nC0000001|T017|A|Structure|AT2||\n")
    peer, index = tmp_path / "peer.py", tmp_path / "index"
    peer.write_text(PEER)
    run(peer, "build", tmp_path, tmp_path / "texts", index)
    assert (index / "types").read_text() == "{'C0000001': ['T023', 'T017']}"
    assert json.loads((index / "built.json").read_text()).keys() == {"cpu_s", "peak_mb"}

    lines = "".join(json.dumps(text) + "\n" for text in ["lung", "lungs", "a\nline"] * 200)
    *mentions, figures = map(json.loads, run(peer, "link", index, '{"score": 0.5}', lines=lines).splitlines())
    assert mentions == [[[0, 4, "C0000001", 0.5]], [], []] * 200
    assert figures["peak_mb"] > 1
    assert 0 <= figures["cpu_s"] < 10
