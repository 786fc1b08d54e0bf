"""The pages' scripts: strictly typed, small, and the same after they are joined."""

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from models.plots.palette import CLASS_COLORS, color_slots
from service.api.webfiles import FOLDER, read_web_files
from service.api.webmodules import ModuleUnclear, joined, without_comments

ENTRY = "timeline/kinetag-timeline.js"
MAX_ELEMENT_BYTES = 40_000
LABELS = ["fall", "wave", "<b>x</b>", "zażółć", "😀", "a" * 300, *(f"class {n}" for n in range(40))]


@pytest.fixture(scope="module")
def node() -> str:
    """The program that runs scripts outside of a browser."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("There is no node.")
    return found


def test_all_scripts_are_typed(web_modules):
    # Version 7 is a program of its own; earlier ones are scripts.
    compiler = web_modules / ".bin" / "tsc"
    found = subprocess.run(
        [compiler, "-p", FOLDER / "tsconfig.json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.stdout == ""
    assert found.returncode == 0


def test_the_element_is_one_small_module():
    files = read_web_files()
    entry = files[ENTRY]
    text = entry.content.decode()
    assert not re.search(r"^(?:import|export) ", text, re.MULTILINE)
    assert len(entry.compressed) < MAX_ELEMENT_BYTES
    assert gzip.decompress(entry.compressed) == entry.content


def test_all_that_is_sent_can_be_read(node, tmp_path):
    files = read_web_files()
    for name, file in files.items():
        if name.endswith(".js"):
            script = tmp_path / Path(name).with_suffix(".mjs").name
            script.write_bytes(file.content)
            subprocess.run([node, "--check", script], check=True, timeout=60)


def test_classes_have_the_colours_that_pictures_give_them(node):
    colors = FOLDER / "timeline" / "colors.js"
    asked = subprocess.run(
        [
            node,
            "--input-type=module",
            "-e",
            (
                f"import {{ CLASS_COLORS, colorSlots, NUM_SLOTS }} from '{colors.as_uri()}';"
                f"const slots = colorSlots({json.dumps(LABELS)});"
                "const found = [...slots].map(([label, slot]) => [label, slot % NUM_SLOTS]);"
                "console.log(JSON.stringify({ CLASS_COLORS, found: Object.fromEntries(found) }));"
            ),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = json.loads(asked.stdout)
    assert told["found"] == color_slots(LABELS)
    assert {theme: tuple(colors) for theme, colors in told["CLASS_COLORS"].items()} == CLASS_COLORS


def test_comments_go_and_code_stays():
    source = (
        "/**\n * For readers.\n */\nconst a = 1; // stays with its line\n\n  // gone\n"
        "  /** @type {Thing} */ (a).b();\nconst text = `\n  // kept\n  /* kept */\n`;\n"
    )
    assert without_comments(source) == (
        "const a = 1; // stays with its line\n(a).b();\n"
        "const text = `\n  // kept\n  /* kept */\n`;\n"
    )


def test_modules_are_joined_in_their_order(node):
    sources = {
        "x/a.js": 'import { b, c as d } from "./b.js";\nimport * as all from "../y/c.js";\n'
        "console.log(JSON.stringify([b(), d, Object.keys(all), new all.C().n]));\n",
        "x/b.js": 'import { n } from "../y/c.js";\nconst own = n + 1;\n'
        "export function b() {\n  return own;\n}\nexport const c = 5;\n",
        "y/c.js": "const own = 1;\nexport const n = own;\nexport class C {\n  n = n;\n}\n"
        "export async function later() {}\n",
    }
    text = joined("x/a.js", sources.__getitem__)
    ran = subprocess.run(
        [node, "--input-type=module"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stderr == ""
    assert json.loads(ran.stdout) == [2, 5, ["n", "C", "later"], 1]


@pytest.mark.parametrize(
    "source",
    [
        'import x from "./b.js";\n',
        'import "./b.js";\n',
        "export default 1;\n",
        "export { a };\n",
        'export * from "./b.js";\n',
        'import { a } from "./a.js";\n',
    ],
)
def test_what_cannot_be_joined_is_refused(source):
    with pytest.raises(ModuleUnclear):
        joined("a.js", lambda path: source if path == "a.js" else "")
