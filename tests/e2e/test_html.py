# SPDX-License-Identifier: GPL-3.0-or-later
"""baseline --html: the page, read by a real browser, and its file."""
import json
import os
import random
from pathlib import Path

from lib.browser import Browser
from lib.harness import check, check_equal, check_in, test
from test_baseline import Desk, imported

HOSTS = Path(__file__).resolve().parents[1] / "data" / "hosts"
INTEL = ("Cooperlake", "Core-i7-2600-xsaveopt", "Core-i7-8550U", "Xeon-E5-2623-v4", "Xeon-E7-4830")
FEW = ("Xeon-Gold-6130", "Xeon-Gold-6148", "Xeon-Platinum-8268")
INTEL += (*FEW, "Xeon-w7-3465X")
CLASSES = ("all", "security", "vector", "nested", "kvm", "other")
CAUSES = ("any", "cpu", "kvm", "qemu", "policy", "request")
BEHIND_THEM = 2  # columns before those of hosts
# The map as a browser has it: of each row that is shown its name, whether it is marked, and the words of its cells.
ROWS = """[...document.querySelectorAll('#map tbody tr')].filter(row => row.getClientRects().length).map(row => ({
  feature: row.querySelector('th code').textContent, security: row.querySelector('.tag') !== null,
  scope: row.querySelector('th').scope, cells: [...row.cells].slice(1).map(cell => cell.textContent)}))"""
TEXTS = "[...document.querySelectorAll({})].map(one => one.textContent.trim())"
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
NUMBER_SHOWN = "document.querySelector('#map').querySelectorAll('tbody tr').length"


def texts(browser, selector):
    """What the elements say."""
    return browser.evaluate(TEXTS.format(json.dumps(selector)))


def record_of(name, **members):
    """The recorded replies of a real host."""
    return {**json.loads((HOSTS / f"{name}.json").read_text()), "name": name, **members}


def keep(browser, name):
    """A screenshot is a picture of something; for people in the folder that QML_SCREENSHOTS names."""
    png = browser.screenshot()
    check(png.startswith(b"\x89PNG") and len(png) > 8000, f"the screenshot {name} is of nothing: {len(png)} bytes")
    folder = os.environ.get("QML_SCREENSHOTS")
    if folder:
        Path(folder, f"{name}.png").write_bytes(png)


def check_quiet(browser, path):
    """Nothing but the file was asked for, and nobody complains."""
    check_equal(browser.complaints(), [], f"what Chromium says of {path.name}")
    check_equal(browser.requests(), [path.as_uri()], f"what {path.name} makes Chromium fetch")


def check_map(browser, document):
    """The map is that of the document: rows, marks, cells and their headers, security first."""
    rows = browser.evaluate(ROWS)
    hosts = [one["name"] for one in document["hosts"]]
    expected = []
    for one in document["dropped"]:
        whys = {lack["host"]: lack["why"] for lack in one["missing_on"]}
        cells = [str(len(whys)), *(whys.get(host, "yes") for host in hosts)]
        expected.append({"feature": one["feature"], "security": one["security"], "scope": "row", "cells": cells})
    check_equal(rows, expected, "rows of the map")
    marks = [row["security"] for row in rows]
    check_equal(marks, sorted(marks, reverse=True), "security first")
    check_equal(texts(browser, "#map thead th")[BEHIND_THEM:], hosts, "columns")
    scopes = browser.evaluate("[...document.querySelectorAll('thead th')].every(one => one.scope === 'col')")
    check(scopes, "a column's header is none")
    return rows


def check_costs(browser, document):
    """Each host's cost, the dearest first, security before number."""
    security = {one["feature"] for one in document["dropped"] if one["security"]}
    found = browser.evaluate(
        "[...document.querySelectorAll('#costs tbody tr')].map(row => [row.cells[0].textContent,"
        " [...row.querySelectorAll('code')].map(one => one.textContent)])"
    )
    check_equal(dict(map(tuple, found)), document["costs"], "costs")
    dear = [(len(security & set(names)), len(names)) for _, names in found]
    check_equal(dear, sorted(dear, reverse=True), "the dearest first")


def check_filters(browser, rows):
    """Each choice shows its rows and no others, says how many, and both filters count."""
    for group, words in (("class", CLASSES), ("why", CAUSES)):
        for word in words:
            browser.evaluate(f"document.getElementById('{group}-{word}').click()")
            shown = browser.evaluate(ROWS)
            if group == "class":
                wanted = [row for row in rows if word == "all" or row["security"] or word != "security"]
                good = word != "security" or shown == [row for row in rows if row["security"]]
            else:
                wanted = [row for row in rows if word == "any" or word in row["cells"]]
                good = shown == wanted
            check(good and [row for row in shown if row not in wanted] == [], f"rows shown with {group} {word}")
        browser.evaluate(f"document.getElementById('{group}-{words[0]}').click()")
    classes = 0
    for word in CLASSES[1:]:
        browser.evaluate(f"document.getElementById('class-{word}').click()")
        classes += len(browser.evaluate(ROWS))
    check_equal(classes, len(rows), "rows of all classes together")
    browser.evaluate("document.getElementById('class-security').click()")
    browser.evaluate("document.getElementById('why-cpu').click()")
    both = [row for row in rows if row["security"] and "cpu" in row["cells"]]
    check_equal(browser.evaluate(ROWS), both, "rows with both filters")
    check(0 < len(both) < len(rows), "both filters show nothing, or all")
    browser.evaluate("document.getElementById('why-any').click(); document.getElementById('class-all').click()")


def tree_of(browser):
    """[(role, name)] of what a screen reader is told."""
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
    ]


@test(timeout=120)
def recorded_hosts_in_chromium(t):
    """the page of nine real CPUs: no complaint, no request, rows as in --json, security first, filters by mouse and keys,
    names for a screen reader, dark and light, narrow and wide"""
    browser, desk = Browser(t), Desk(t)
    files = [imported(desk, record_of(name)) for name in INTEL]
    page = t.dir / "page.html"
    words = ("--cpu-form", "base", "--deny", "erms")
    document = desk.document(*words, *files)
    check_equal(desk.run(*words, "--html", page, *files, check=0).stdout, "", "standard output beside a page")
    browser.size(1100, 900)
    browser.scheme("light")
    browser.open(page)
    check_quiet(browser, page)
    check_equal(browser.evaluate("document.title"), "Baseline of 9 hosts", "title")
    check_equal(browser.evaluate("document.documentElement.lang"), "en", "language")
    check_equal(browser.evaluate("document.querySelectorAll('script, img, link, iframe').length"), 0, "foreign bodies")
    rows = check_map(browser, document)
    check_costs(browser, document)
    order = texts(browser, "main > section > h2")
    check_equal(order[0], "Security that is lost", "the first section")
    lost = [one["feature"] for one in document["dropped"] if one["security"]]
    check_equal(texts(browser, "#security tbody th"), lost, "security losses")
    check(all(texts(browser, "#security td:nth-child(2)")), "a security loss without its meaning")
    kept = browser.evaluate("document.querySelectorAll('#features dd code').length")
    check_equal(kept, len(document["features"]), "features that every guest gets")
    check_filters(browser, rows)

    # By mouse and by keys: the label of a choice is its own, arrows go on from there, Tab to the other filter.
    browser.click("label:has(#class-security)")
    check_equal(browser.evaluate(ROWS), [row for row in rows if row["security"]], "rows after a click")
    number = browser.evaluate("getComputedStyle(document.querySelector('.shown'), '::before').content")
    check_in("counter(rows)", number, "the number of rows shown")
    browser.press("ArrowRight", 39)
    check_equal(browser.evaluate("document.activeElement.id"), "class-vector", "the choice after an arrow")
    check(all(not row["security"] for row in browser.evaluate(ROWS)), "security among the vectors")
    browser.press("Tab", 9)
    check_equal(browser.evaluate("document.activeElement.id"), "why-any", "the choice after Tab")
    browser.evaluate("document.getElementById('class-all').click()")

    tree = tree_of(browser)
    radios = [name for role, name in tree if role == "radio"]
    check_equal(len(radios), len(CLASSES) + len(CAUSES), "radio buttons in the tree of accessibility")
    check(all(radios), f"a radio button without a name: {radios}")
    check_equal(sum(role == "rowheader" and name in lost for role, name in tree), len(lost), "row headers of security")
    regions = [name for role, name in tree if role == "region"]
    check(regions and all(regions), f"a region without a name: {regions}")

    light = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    keep(browser, "light")
    browser.scheme("dark")
    dark = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    check(light != dark and light == "rgb(255, 255, 255)", f"light is {light}, dark {dark}")
    keep(browser, "dark")
    for width in (390, 800, 1600):
        browser.size(width, 900)
        check(not browser.evaluate(WIDE), f"the page is wider than a window of {width} pixels")
        keep(browser, f"wide-{width}")
    check_quiet(browser, page)


@test(timeout=90)
def few_hosts_in_chromium(t):
    """the page of three hosts: names of hosts lie, those of nine stand; doc/baseline.png is this one"""
    browser, desk = Browser(t), Desk(t)
    files = {name: imported(desk, record_of(name)) for name in INTEL}
    page = t.dir / "page.html"
    browser.scheme("light")
    for names, stand in ((INTEL, True), (FEW, False)):
        desk.run("--qemu", t.qemu_path, "--cpu-form", "base", "--html", page, *map(files.get, names), check=0)
        browser.size(1000, 1560)
        browser.open(page)
        check_quiet(browser, page)
        mode = browser.evaluate("getComputedStyle(document.querySelector('#map .host span')).writingMode")
        check_equal(mode, "vertical-rl" if stand else "horizontal-tb", f"names of {len(names)} hosts")
        check(not browser.evaluate(WIDE), f"the page of {len(names)} hosts is wider than the window")
        inside = "document.querySelector('#map .scroll').scrollWidth <= document.querySelector('#map').clientWidth"
        check(browser.evaluate(inside), f"the map of {len(names)} hosts is wider than the window")
    keep(browser, "baseline")


@test(timeout=120)
def hostile_hosts_in_chromium(t):
    """what a host says of itself is text; what somebody adds to a page is neither run, shown in its style, nor fetched"""
    browser, desk = Browser(t), Desk(t)
    evil = "<img src=x onerror=alert(1)>\"'&<script>"
    a, b = desk.profile("a"), desk.profile("b", without=["smap"])
    b["cpu"]["identity"]["model_id"] = evil
    page = t.dir / "page.html"
    desk.run("--html", page, *desk.files(a, b), check=0)
    browser.open(page)
    check_quiet(browser, page)
    check_in(evil, texts(browser, "#costs tbody td:nth-child(2)"), "CPU models")
    check_equal(browser.evaluate("document.querySelectorAll('script, img').length"), 0, "elements of a host's making")
    check_equal(texts(browser, "#map tbody th code"), ["smap"], "the map of a page with hostile text")
    desk.refuses(65, ["b.profile"], "--html", t.dir / "none.html", desk.file({**b, "cpu": {**b["cpu"], "host": evil}}, "b"))
    check(not (t.dir / "none.html").exists(), "a page of hosts that were refused")

    for number, (words, complaint) in enumerate(
        (
            ("<script>document.title = 'run'</script>", "script-src"),
            ("<style>body { display: none }</style>", "style-src"),
            ("<img alt='' src='http://127.0.0.1:9/x.png'>", "img-src"),
            ("<p onclick='1' style='color: red'>", "style-src"),
        )
    ):
        changed = t.dir / f"changed-{number}.html"
        changed.write_text(page.read_text().replace("</main>", f"{words}</main>"))
        browser.open(changed)
        check_in(complaint, " ".join(browser.complaints()), f"what Chromium says of {words}")
        check_equal(browser.requests(), [changed.as_uri()], f"requests with {words}")
        check_equal(browser.evaluate("document.title"), "Baseline of 2 hosts", f"title with {words}")
        check(browser.evaluate("getComputedStyle(document.body).display") != "none", f"the style of {words} counts")


@test(timeout=180)
def hundred_hosts_in_chromium(t):
    """a hundred profiles: still a page that fits, each with its column and its cost; and of hosts that are alike"""
    browser, desk = Browser(t), Desk(t)
    chance = random.Random(9)
    made = []
    for number in range(100):
        one = desk.profile(f"rack{number // 10}-machine{number % 10:02}.example")
        without = set(chance.sample(one["cpu"]["available"], chance.choice((0, 0, 1, 3))))
        without |= {"smap", "clwb"} if number % 10 < 3 else set()
        one["cpu"]["available"] = [name for name in one["cpu"]["available"] if name not in without]
        one["cpu"]["models"] = one["cpu"]["models"] if number == 0 else {}
        made.append(one)
    files = desk.files(*made)
    page = t.dir / "page.html"
    document = json.loads(desk.run("--cpu-form", "base", "--json", "--html", page, *files, check=0).stdout)
    check(page.stat().st_size < 2_000_000, f"a page of {page.stat().st_size} bytes")
    browser.size(1300, 1000)
    browser.open(page)
    check_quiet(browser, page)
    check(len(check_map(browser, document)) > 20, "too few rows to show anything")
    check_costs(browser, document)
    check(not browser.evaluate(WIDE), "the page is wider than the window")
    check(browser.evaluate("document.querySelector('#map .scroll').scrollWidth") > 3000, "a hundred columns in a window")
    keep(browser, "hundred")
    # The names of hosts and features stay when the map is scrolled.
    browser.evaluate("document.querySelector('#map .scroll').scrollTo(2000, 400)")
    corner = browser.evaluate(
        "(() => { const r = document.querySelector('#map .scroll').getBoundingClientRect(),"
        " h = document.querySelector('#map thead th').getBoundingClientRect();"
        " return [Math.round(h.x - r.x), Math.round(h.y - r.y)] })()"
    )
    check(max(corner) <= 2 and min(corner) >= 0, f"the corner of the map is scrolled away: {corner}")

    desk.run("--html", page, *desk.files(desk.profile("a"), desk.profile("b")), check=0)
    browser.open(page)
    check_quiet(browser, page)
    check_equal(texts(browser, ".good"), ["No security feature is lost.", "The hosts give a guest the same features."], "good")


@test()
def file_is_whole_or_not_there(t):
    """--html writes a whole file, the same for the same profiles, or leaves what was there: one error, 73; wrong words: 64"""
    desk = Desk(t)
    files = desk.files(desk.profile("a"), desk.profile("b", without=["smap"]))
    page, again = t.dir / "page.html", t.dir / "again.html"
    check_equal(desk.run("--html", page, *files, check=0).stdout, "", "standard output")
    text = page.read_text()
    check(text.startswith("<!DOCTYPE html>\n") and text.endswith("</html>\n"), "the page is not whole")
    check_equal(page.stat().st_mode & 0o777, 0o644, "mode")
    document = desk.document(*files)
    check_equal(json.loads(desk.run("--json", "--html", again, *files, check=0).stdout), document, "--json beside --html")
    check_equal(again.read_text(), text, "the page, made twice")
    check_in("--html", desk.run("--help", check=0).stdout, "--help")

    desk.refuses(73, [str(t.dir / "none" / "x.html")], "--html", t.dir / "none" / "x.html", *files)
    desk.refuses(73, ["/dev/full"], "--html", "/dev/full", *files)
    desk.refuses(73, [str(t.dir)], "--html", t.dir, *files)
    desk.refuses(64, ["--html"], "--html", "", *files)
    desk.refuses(64, ["--agreement takes no other option"], "--agreement", "x", "--html", again, *files)
    intel = desk.profile("intel")
    intel["cpu"]["identity"]["vendor"] = "GenuineIntel" if intel["cpu"]["identity"]["vendor"] != "GenuineIntel" else "AuthenticAMD"
    again.write_text("old")
    desk.refuses(10, ["vendors"], "--html", again, files[0], desk.file(intel))
    check_equal(again.read_text(), "old", "the file after a refusal")
    # FILE was forgotten: what stands in its place is a profile.
    profile = Path(files[0]).read_bytes()
    desk.refuses(64, [str(files[0]), "is no page"], "--html", *files)
    check_equal(Path(files[0]).read_bytes(), profile, "the profile that stood where FILE should stand")
    again.write_text("")
    for before in ("an empty file", "an older page"):
        desk.run("--html", again, *files, check=0)
        check_equal(again.read_text(), text, f"a page over {before}")
    left = sorted(path.name for path in t.dir.glob("*html*"))
    check_equal(left, ["again.html", "page.html"], "files that are left")
