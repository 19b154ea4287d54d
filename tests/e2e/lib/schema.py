# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON Schemas of doc/schema, and what they are of, by the tables of doc/FORMATS.md. They are read once, by the
process that starts the tests."""
import base64
import functools
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import jsonschema

from .wait import Failure

DOC = Path(__file__).resolve().parents[3] / "doc"
FORMATS = DOC / "FORMATS.md"
SHOWN = 8  # mistakes that are told of one document


@functools.cache
def schemas():
    """{NAME: the schema in doc/schema/NAME.json}"""
    return {path.stem: json.loads(path.read_text()) for path in sorted((DOC / "schema").glob("*.json"))}


@functools.cache
def validator(name):
    """What checks documents by doc/schema/NAME.json. A `$ref` names a file beside it."""
    kind = jsonschema.Draft202012Validator
    try:
        from referencing import Registry, Resource  # jsonschema 4.18, Debian 13

        found = ((f"{one}.json", Resource.from_contents(schema)) for one, schema in schemas().items())
        return kind(schemas()[name], registry=Registry().with_resources(found))
    except ImportError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            base = "http://doc.invalid/"  # it joins only what is absolute; nothing is fetched, for all are there
            store = {f"{base}{one}.json": schema for one, schema in schemas().items()}
            return kind(schemas()[name], resolver=jsonschema.RefResolver(f"{base}{name}.json", schemas()[name], store))


def _told(error):
    """A mistake in a line; of alternatives, the one that is nearest."""
    while error.context:
        error = jsonschema.exceptions.best_match([error])
        if error.context:
            break
    return f"{error.json_path}: {error.message[:200]}"


def mistakes(document, name):
    """What of the document is not as in doc/schema/NAME.json, a line each."""
    return [_told(error) for error, _ in zip(validator(name).iter_errors(document), range(SHOWN))]


def decode(text):
    """The bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def envelopes(document):
    """[(TYPE, payload)] of the signed envelopes in a document, those within payloads, too."""
    if isinstance(document, list):
        return [found for item in document for found in envelopes(item)]
    if not isinstance(document, dict):
        return []
    if set(document) == {"payload", "protected", "signature"}:
        payload = json.loads(decode(document["payload"]))
        return [(json.loads(decode(document["protected"])), payload), *envelopes(payload)]
    return [found for item in document.values() for found in envelopes(item)]


def check_document(document, name, what):
    """Failure unless it is as in doc/schema/NAME.json, and what is signed in it as its kind's schema has it."""
    wrong = mistakes(document, name)
    for header, payload in [] if wrong else envelopes(document):
        wrong += mistakes(header, "envelope-header")
        wrong += mistakes(payload, statements()[header["typ"]]) if not wrong else []
    if wrong:
        raise Failure(f"{what} is not as in doc/schema/{name}.json: {'; '.join(wrong)}")


# The tables of doc/FORMATS.md.


@dataclass(frozen=True)
class Row:
    """A row of a table: what stands in code in its first cell, and the names of the schemas that it links to: of more
    than one each is of a line."""

    words: tuple
    schemas: tuple

    @property
    def schema(self):
        """The first one, or None."""
        return self.schemas[0] if self.schemas else None


@functools.cache
def table(heading):
    """The rows of the table whose first cell in the heading is this."""
    found = re.findall(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", FORMATS.read_text(), re.M)
    if len(found) != 1:
        raise Failure(f"tables of doc/FORMATS.md that begin with {heading}: {len(found)}")
    rows = []
    for line in found[0].splitlines():
        links = re.findall(r"\]\(schema/([a-z-]+)\.json\)", line)
        first = line.split(" | ")[0].removeprefix("| ")
        # CONFIG`/vms/VM.args` is one word
        words = re.findall(r"(?:CONFIG|STATE|RUN)?`[^`]+`", first)
        rows.append(Row(tuple(word.replace("`", "") for word in words), tuple(links)))
    return rows


@functools.cache
def statements():
    """{TYPE: schema of what is signed under it}"""
    return {word: row.schema for row in table("TYPE") for word in row.words}
