"""Looks at pages of `platon report` in a browser: python tests/python/report_page.py [--shots DIR] PAGE...

Each page is opened from disk at two widths, in light and in dark and as it is printed. Whatever is
interactive is clicked. Errors on the console, anything loaded from elsewhere, pictures that do not show
and text wider than the window fail. Needs Chromium (Debian: chromium) and the package playwright, whose
own browsers are not needed. Prints a line for each page.
"""

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

MOST_BYTES = 1_000_000
WIDTHS = (1280, 400)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def fail(message):
    print(f"FAILED: {message}")
    sys.exit(1)


def check(condition, message):
    if not condition:
        fail(message)


def look(browser, path, width, scheme, shots):
    """Opens the page, clicks through it; how many pictures and boxes it has."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    faults, asked = [], []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.resolve().as_uri())
    name = f"{path.name} at {width}, {scheme}"
    pictures = page.locator(".picture svg")
    for n in range(pictures.count()):
        box = pictures.nth(n).bounding_box()
        check(box and box["width"] > 150 and box["height"] > 80, f"{name}: picture {n} does not show: {box}")
    wide = page.evaluate("document.documentElement.scrollWidth")
    check(wide <= width, f"{name}: {wide} pixels wide")
    # Text must stand out from the ground.
    colours = page.evaluate("(() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]; })()")
    light = [sum(int(part) for part in c[c.index("(") + 1 : -1].split(",")[:3]) for c in colours]
    check(abs(light[0] - light[1]) > 400, f"{name}: {colours}")
    check((light[1] > light[0]) == (scheme == "light"), f"{name}: {colours}")
    if shots:
        page.screenshot(path=shots / f"{path.stem}-{width}-{scheme}.png", full_page=True)
    # A curve's box hides it, and shows it again.
    boxes = page.locator("input[data-colour]")
    for n in range(boxes.count()):
        box = boxes.nth(n)
        colour = box.get_attribute("data-colour")
        part = box.locator("xpath=ancestor::*[self::figure or self::section][1]")
        drawn = part.locator(f'.picture [stroke="{colour}"]')
        check(drawn.count() > 0, f"{name}: no curve of {colour}")
        box.uncheck()
        check(not drawn.first.is_visible(), f"{name}: {colour} is not hidden")
        box.check()
        check(drawn.first.evaluate("e => e.style.display") == "", f"{name}: {colour} stays hidden")
    # What can be unfolded is, and what can be copied gets to the clipboard.
    for n in range(page.locator("summary").count()):
        page.locator("summary").nth(n).click()
    buttons = page.locator("button.copy")
    check(buttons.count() > 0, f"{name}: nothing can be copied")
    for n in range(buttons.count()):
        text = buttons.nth(n).locator("xpath=..").locator("pre").text_content()
        check(len(text.strip()) > 5, f"{name}: nothing to copy in block {n}")
        buttons.nth(n).click()
        page.wait_for_function("n => document.querySelectorAll('button.copy')[n].textContent == 'Copied'", arg=n)
        copied = page.evaluate("navigator.clipboard.readText()")
        check(copied.strip() == text.strip(), f"{name}: block {n} is not what was copied")
    wide = page.evaluate("document.documentElement.scrollWidth")
    check(wide <= width, f"{name}: {wide} pixels wide, unfolded")
    page.emulate_media(media="print")
    check(not buttons.first.is_visible(), f"{name}: buttons are printed")
    check(not faults, f"{name}: {faults}")
    outside = [url for url in asked if not url.startswith(("file:", "data:"))]
    check(not outside, f"{name}: loads {outside}")
    found = pictures.count(), boxes.count()
    context.close()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--shots", type=Path, help="folder for screenshots")
    arguments = parser.parse_args()
    if arguments.shots:
        arguments.shots.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        fail("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        hidden = 0
        for path in arguments.pages:
            size = path.stat().st_size
            check(size < MOST_BYTES, f"{path}: {size} bytes")
            found = set()
            for width in WIDTHS:
                for scheme in ("light", "dark"):
                    found.add(look(browser, path, width, scheme, arguments.shots))
            check(len(found) == 1, f"{path}: {found}")
            pictures, boxes = found.pop()
            check(pictures > 0, f"{path}: no pictures")
            hidden += boxes
            print(f"{path}: {size / 1e3:.0f} kB, {pictures} pictures, {boxes} curves to hide: fine")
        check(hidden > 0, "no page has a curve to hide")
        browser.close()


if __name__ == "__main__":
    main()
