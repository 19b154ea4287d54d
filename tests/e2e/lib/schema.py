# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON Schemas of doc/FORMATS.md, as far as they are used there, held against what the program prints."""
import json
import re
from pathlib import Path

from .wait import check_equal

FORMATS = Path(__file__).resolve().parents[3] / "doc" / "FORMATS.md"
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None), "boolean": bool}
KNOWN = {"$schema", "type", "enum", "minimum", "required", "properties", "additionalProperties", "items"}


def schema(name):
    """The schema behind the comment `schema: NAME`."""
    found = re.findall(rf"^<!-- schema: {name} -->\n```json\n(.*?)^```$", FORMATS.read_text(), re.M | re.S)
    check_equal(len(found), 1, f"schemas called {name} in doc/FORMATS.md")
    return json.loads(found[0])


def mistakes(value, rule, where="document"):
    """What of the value is not as the schema says, a line each."""
    if set(rule) - KNOWN:
        return [f"{where}: the schema has words that are not known here: {set(rule) - KNOWN}"]
    wanted = rule.get("type", [])
    wanted = wanted if isinstance(wanted, list) else [wanted]
    if wanted and not any(type(value) is TYPES[one] for one in wanted):
        return [f"{where}: {value!r} is no {' or '.join(wanted)}"]
    found = []
    if "enum" in rule and value not in rule["enum"]:
        found.append(f"{where}: {value!r} is none of {rule['enum']}")
    if "minimum" in rule and value < rule["minimum"]:
        found.append(f"{where}: {value} is too small")
    if isinstance(value, dict):
        properties = rule.get("properties", {})
        found += [f"{where}: no {name}" for name in rule.get("required", []) if name not in value]
        for name, member in value.items():
            if name in properties:
                found += mistakes(member, properties[name], f"{where}.{name}")
            elif rule.get("additionalProperties", True) is False:
                found.append(f"{where}: {name} is not in the schema")
    if isinstance(value, list) and "items" in rule:
        for number, item in enumerate(value):
            found += mistakes(item, rule["items"], f"{where}[{number}]")
    return found
