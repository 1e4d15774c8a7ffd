"""The documentation as a reader sees it: every page in a browser, without a network."""

import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest


CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("needs Debian's package `chromium`", allow_module_level=True)
pytest.importorskip("mkdocs", reason="needs the extra `docs`")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs the extra `tests`"
)

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LOOKS = [("light", 1280), ("dark", 390)]

# What is wrong with the page as it is drawn.
FAULTS = r"""() => {
  const faults = [];
  const check = (found, isFine, what) => found.filter((x) => !isFine(x)).forEach((x) =>
    faults.push(`${what}: ${x.currentSrc || x.textContent.trim().slice(0, 80)}`));
  const all = (selector) => [...document.querySelectorAll(selector)];
  all("details").forEach((x) => { x.open = true; });

  const width = document.scrollingElement.scrollWidth;
  if (width > innerWidth) faults.push(`${width} px wide`);
  check(all("img"), (x) => x.complete && x.naturalWidth > 0, "no image");
  check(all("math"), (x) => x.getBoundingClientRect().height > 0, "not drawn");
  check(all("math"), (x) => !/[\\&$]/.test(x.textContent), "LaTeX in a formula");

  // Text, but that of code blocks, whose colours say something.
  const walker = document.createTreeWalker(all("article")[0], NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  const within = (x, selector) => x.parentElement.closest(selector);
  const prose = texts.filter((x) => x.data.trim() && !within(x, "pre"));
  check(prose, (x) => within(x, "code, math") || !/\$|\\[([]/.test(x.data), "LaTeX");

  // Contrast is that of WCAG 2, which asks for 4.5.
  const over = (color, back) => {
    const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
    return [r, g, b].map((c, i) => a * c + (1 - a) * back[i]);
  };
  const ground = (x) => x
    ? over(getComputedStyle(x).backgroundColor, ground(x.parentElement))
    : [255, 255, 255];
  const luminance = (color) => {
    const linear = (c) => c > 10 ? ((c / 255 + 0.055) / 1.055) ** 2.4 : c / 3295;
    const [r, g, b] = color.map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = ({parentElement: x}) => {
    const back = ground(x);
    const both = [back, over(getComputedStyle(x).color, back)].map(luminance);
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  };
  check(prose, (x) => contrast(x) >= 4.5, "dim");
  return faults;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Where the site is on disk, and its address."""
    path = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    address = ("127.0.0.1", 0)
    with ThreadingHTTPServer(address, partial(Handler, directory=path)) as server:
        threading.Thread(target=server.serve_forever).start()
        yield path, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    # No name is known and no address answers but this machine's.
    offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with playwright.sync_playwright() as driver:
        with driver.chromium.launch(executable_path=CHROMIUM, args=[offline]) as opened:
            yield opened


def _pages(site) -> dict[str, Path]:
    path, address = site
    files = sorted(path.rglob("*.html"))
    place = {file: file.relative_to(path).as_posix() for file in files}
    return {address + place[file].removesuffix("index.html"): file for file in files}


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages(site, browser, scheme, width):
    own = (site[1], "data:", "blob:")
    size = {"width": width, "height": 844}
    faults = []
    with browser.new_page(color_scheme=scheme, viewport=size) as tab:

        def note(is_fine: bool, what: object):
            if not is_fine:
                faults.append(f"{tab.url}: {what}")

        tab.on("pageerror", lambda error: note(False, error))
        tab.on("console", lambda line: note(line.type != "error", line.text))
        tab.on("response", lambda x: note(x.status < 400, f"{x.status}, {x.url}"))
        tab.on("request", lambda x: note(x.url.startswith(own), f"asks for {x.url}"))
        for page in _pages(site):
            tab.goto(page)
            faults += [f"{page}: {fault}" for fault in tab.evaluate(FAULTS)]
    assert not faults, "\n".join(faults)


def test_formulas(site):
    """A page whose source has some shows some; `test_pages` finds what is not drawn."""
    pages = _pages(site)
    for source in DOCS.rglob("*.md"):
        text = source.read_text(encoding="utf-8")
        if "$" in re.sub(r"```.*?```|`.*?`", "", text, flags=re.DOTALL):
            place = source.relative_to(DOCS).with_suffix("").as_posix()
            page = f"{place}/".removesuffix("index/")
            assert "<math" in pages[site[1] + page].read_text(encoding="utf-8"), source


class _Page(HTMLParser):
    """Where a page can be entered, and where it leads."""

    def __init__(self, file: Path):
        super().__init__()
        self.names, self.links = {""}, []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.names.add(found.get("id"))
        if tag == "a" and "href" in found:
            self.links.append(found["href"])


def test_links(site):
    path, address = site
    pages = {page: _Page(file) for page, file in _pages(site).items()}

    def is_broken(link: str) -> bool:
        target, name = urldefrag(link)
        if target in pages:
            return unquote(name) not in pages[target].names
        file = path / unquote(target.removeprefix(address))
        return target.startswith(address) and not file.is_file()

    broken = [
        f"{page}: {link}"
        for page, content in pages.items()
        for link in content.links
        if is_broken(urljoin(page, link))
    ]
    assert not broken, "\n".join(broken)


def test_search(site, browser):
    with browser.new_page() as tab:
        tab.goto(site[1])
        # By keys, as the page listens to them.
        tab.get_by_role("textbox", name="Search").press_sequentially("CHLUSolver")
        tab.locator(".md-search-result a[href*='api/solver/']").first.click()
        tab.wait_for_url("**/api/solver/**")
        assert tab.get_by_role("heading", name="CHLUSolver").is_visible()


def test_light_and_dark(site, browser):
    """As the system has it, until the reader chooses."""
    ground = "getComputedStyle(document.body).backgroundColor"
    grounds = {}
    for scheme in ("light", "dark"):
        with browser.new_page(color_scheme=scheme) as tab:
            tab.goto(site[1])
            grounds[scheme] = tab.evaluate(ground)
    assert grounds["light"] != grounds["dark"]
    with browser.new_page(color_scheme="dark") as tab:
        tab.goto(site[1])
        tab.get_by_title("Switch to light").click()
        assert tab.evaluate(ground) == grounds["light"]
        tab.get_by_title("Switch to dark").click()
        assert tab.evaluate(ground) == grounds["dark"]
