"""The pages of runs in a real browser: they render without network, their figures are there, their tables sort."""

import shutil

import numpy as np
import pandas as pd
import pytest

from medrange import datasets
from medrange.report.demo_run import write_demo
from medrange.report.packing_run import PackingOptions, write_packing
from medrange.report.page import Section, Table, write_page
from medrange.report.pdf_run import PdfOptions, write_pdf

selenium = pytest.importorskip("selenium")
from selenium import webdriver  # noqa: E402 - needs selenium
from selenium.webdriver.common.by import By  # noqa: E402 - needs selenium

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"),
    pytest.mark.filterwarnings("ignore"),
]
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1200,900"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def glass_of_hard_spheres(seed=0):
    """A few hundred points no closer than 2.3 A in a box of 18 A."""
    rng, kept = np.random.default_rng(seed), np.empty((0, 3))
    for point in rng.uniform(0, 18, (20000, 3)):
        if not len(kept) or np.min(np.sum((kept - point) ** 2, axis=1)) > 2.3**2:
            kept = np.vstack([kept, point])
    return kept


def make_demo(folder):
    return write_demo(folder)


def make_pdf(folder):
    scan = datasets.sample_truth("merlin").attrs
    options = PdfOptions(
        composition="Fe80B20",
        scan_step=scan["scan_step"],
        k_step=scan["k_step"],
        beam_energy=scan["beam_energy"],
    )
    return write_pdf(datasets.sample_scan("merlin"), options, folder=folder)


def make_packing(folder):
    points = glass_of_hard_spheres()
    folder.mkdir(parents=True)
    lines = [str(len(points)), "", *(f"Fe {x:.4f} {y:.4f} {z:.4f}" for x, y, z in points)]
    (folder / "model.xyz").write_text("\n".join(lines), encoding="utf-8")
    return write_packing(folder / "model.xyz", PackingOptions(), folder=folder / "run")


@pytest.fixture(scope="module", params=[make_demo, make_pdf, make_packing], ids=["maps", "pdf", "packing"])
def files(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("run") / "page")


def column(browser, table, index):
    """Sorting keys of a column, from top to bottom."""
    code = "return [...arguments[0].tBodies[0].rows].map(row => row.cells[arguments[1]].dataset.key)"
    return browser.execute_script(code, table, index)


def is_number(key):
    try:
        float(key or "nan")
    except ValueError:
        return False
    return True


def body_rows(table):
    return table.find_elements(By.CSS_SELECTOR, "tbody tr")


def test_page_of_a_run(browser, files):
    browser.get_log("browser")
    browser.get(files.page.resolve().as_uri())
    assert browser.find_element(By.TAG_NAME, "h1").text
    assert browser.get_log("browser") == []
    # Everything is in the one file: the browser asked for nothing else.
    names = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in names if not name.startswith("data:")] == []
    widths = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert len(widths) >= 1
    assert min(widths) > 200
    # The page is as wide as the window, also a phone's: nothing sticks out but what scrolls.
    browser.set_window_size(500, 900)
    assert browser.execute_script("return document.body.scrollWidth <= window.innerWidth")
    browser.set_window_size(1200, 900)
    for link in browser.find_elements(By.CSS_SELECTOR, "nav a"):
        assert browser.find_elements(By.CSS_SELECTOR, link.get_dom_attribute("href"))


def test_every_table_of_a_run_sorts(browser, files):
    browser.get(files.page.resolve().as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(item => { item.open = true; })")
    tables = browser.find_elements(By.TAG_NAME, "table")
    assert tables
    numeric = 0
    for table in tables:
        for index, head in enumerate(table.find_elements(By.TAG_NAME, "th")):
            before = column(browser, table, index)
            browser.execute_script("arguments[0].querySelector('button').click()", head)
            rising = column(browser, table, index)
            assert sorted(rising) == sorted(before)
            assert head.get_dom_attribute("aria-sort") == "ascending"
            if all(is_number(key) for key in rising):
                known = [float(key) for key in rising if key]
                assert known == sorted(known)
                assert rising[len(known) :] == [""] * (len(rising) - len(known))
                numeric += len(known) > 2
    assert numeric


def test_hotspot_table_sorts_both_ways_with_unknown_values_last(browser, tmp_path):
    frame = pd.DataFrame(
        {"hotspot": [1, 2, 3, 4], "diameter": [1.5, np.nan, 10.25, 1.25], "kind": ["fcc", "bcc", "hcp", "A15"]}
    )
    frame.attrs["units"] = {"diameter": "nm"}
    page = write_page(
        tmp_path / "index.html", title="Hotspots", summary={}, sections=[Section("Table", "", (), (Table(frame, "H"),))]
    )
    browser.get(page.resolve().as_uri())
    table = browser.find_element(By.TAG_NAME, "table")
    head = table.find_elements(By.TAG_NAME, "th")[1]
    button = head.find_element(By.TAG_NAME, "button")
    button.click()
    assert [row.text.split()[0] for row in body_rows(table)] == ["4", "1", "3", "2"]
    assert head.get_dom_attribute("aria-sort") == "ascending"
    button.click()
    assert [row.text.split()[0] for row in body_rows(table)] == ["3", "1", "4", "2"]
    assert head.get_dom_attribute("aria-sort") == "descending"
    table.find_elements(By.CSS_SELECTOR, "th button")[2].click()
    assert [row.text.split()[-1] for row in body_rows(table)] == ["A15", "bcc", "fcc", "hcp"]
    assert head.get_dom_attribute("aria-sort") is None
