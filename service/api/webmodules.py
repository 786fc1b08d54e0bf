"""ES modules as they are sent: without what is for readers only, and an entry with all it imports.

Sources stay as they are written and are what type checkers and readers see. A page of another
origin then needs one request for the element, and not one for each of its parts.
"""

import posixpath
import re
from collections.abc import Callable

IMPORT = re.compile(
    r'^import (?:\{(?P<names>[^}]*)\}|\* as (?P<whole>\w+)) from "(?P<path>\.[^"]+)";\n',
    re.MULTILINE,
)
EXPORT = re.compile(r"^export (?=(?:async )?(?:class|function|const) (?P<name>\w+))", re.MULTILINE)
CAST = re.compile(r"^/\*\*.*?\*/ +(?=\S)|/\*\* @type \{.*?\} \*/ ?(?=\S)")
LEFT_OVER = re.compile(r"^(?:import|export)(?:\s+\w|\s*[{*\"]).*", re.MULTILINE)


class ModuleUnclear(Exception):
    """A module imports or exports in a form that is not joined, or modules import in a circle."""


def without_comments(source: str) -> str:
    """Return a script without comments on lines of their own, empty lines and indentation.

    What stands between backticks stays as it is.
    """
    kept = []
    in_comment = in_template = False
    for line in source.splitlines():
        # A comment before code, or inside it, is a type that something is cast to.
        text = CAST.sub("", line.strip())
        if in_comment:
            in_comment = not text.endswith("*/")
        elif in_template:
            kept.append(line)
            in_template = line.count("`") % 2 == 0
        elif text.startswith("/*"):
            in_comment = not text.endswith("*/")
        elif text and not text.startswith("//"):
            kept.append(text)
            in_template = line.count("`") % 2 == 1
    return "\n".join([*kept, ""])


def joined(entry: str, read: Callable[[str], str]) -> str:
    """Return a module with everything that it imports by relative paths, as one module.

    Each module keeps a scope of its own. They run in the order in which a browser would run them.

    Args:
        entry: path of the module.
        read: path -> source.

    Raises:
        ModuleUnclear: there is something in them that this does not know.
    """
    parts: dict[str, str] = {}
    waiting: list[str] = []

    def add(path: str) -> str:
        name = "$" + re.sub(r"\W", "_", posixpath.basename(path).removesuffix(".js"))
        if path in waiting:
            message = f"{path} is imported in a circle: {' > '.join(waiting)}."
            raise ModuleUnclear(message)
        if path in parts:
            return name
        waiting.append(path)
        folder = posixpath.dirname(path)

        def replaced(found: re.Match[str]) -> str:
            imported = add(posixpath.normpath(posixpath.join(folder, found["path"])))
            if found["whole"]:
                return f"const {found['whole']} = {imported};\n"
            names = " ".join(found["names"].split()).rstrip(",").replace(" as ", ": ")
            return f"const {{ {names} }} = {imported};\n"

        body = IMPORT.sub(replaced, without_comments(read(path)))
        exported = [one["name"] for one in EXPORT.finditer(body)]
        body = EXPORT.sub("", body)
        unknown = LEFT_OVER.search(body)
        if unknown is not None:
            message = f"{path} has a line that cannot be joined: {unknown[0]}"
            raise ModuleUnclear(message)
        waiting.pop()
        parts[path] = (
            f"const {name} = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();\n"
        )
        return name

    add(entry)
    return "".join(parts.values())
