//! Pages as a browser sees them.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::Bench;

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// A browser that runs without a screen, if the machine has one.
fn browser() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&folders).flat_map(|folder| BROWSERS.map(|name| folder.join(name)));
    found.find(|path| path.is_file())
}

/// The document after layout, as HTML.
fn rendered(browser: &Path, page: &str, profile: &str) -> String {
    let done = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"])
        .arg(format!("--user-data-dir={profile}"))
        .arg(format!("file://{page}"))
        .output()
        .expect("the browser starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("HTML is UTF-8")
}

fn count(page: &str, what: &str) -> usize {
    page.matches(what).count()
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_browser_shows_what_layers_cost() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium found");
        return;
    };
    let bench = Bench::new();
    bench.done("cnnip compile examples/digits/digits.tflite -o @x.cnnip --report @page.html --report @page.json");
    let page = rendered(&browser, &bench.path("page.html"), &bench.path("profile"));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(bench.path("page.json")).unwrap()).unwrap();
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(count(&page, "<tr><td title="), layers.len(), "a row for each layer");
    for chart in ["layers", "timeline", "scratchpad", "roofline"] {
        assert_eq!(count(&page, &format!("id=\"{chart}\"><svg")), 1, "{chart}");
    }
    let with_macs = layers.iter().filter(|layer| layer["macs"].as_u64() > Some(0)).count();
    assert_eq!(count(&page, "<circle"), with_macs, "a circle for each layer with MACs");
    assert!(!page.contains("NaN") && !page.contains("inf\""), "no coordinate is missing");
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_browser_shows_the_chart_the_table_and_the_verdicts() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium found");
        return;
    };
    let bench = Bench::new();
    let (model, image) = ("examples/digits/digits.tflite", "--input examples/digits/images/7_00.png");
    bench.run(&format!("cnnip compare fast:{model} accurate:{model} {image} --goal-db 90 --local --html @page.html"));
    let page = rendered(&browser, &bench.path("page.html"), &bench.path("profile"));
    assert!(page.contains("<p id=\"verdict\">"), "{page}");
    assert_eq!(count(&page, "<div class=\"scroll\" id=\"chart\"><svg"), 1);
    let rows = count(&page, "<tr class=\"equal\">") + count(&page, "<tr class=\"unequal\">");
    assert!(rows >= 6, "{rows} rows");
    assert_eq!(count(&page, "<section class=\"tensor\">"), count(&page, "<tr class=\"unequal\">"));
    assert!(count(&page, "<rect") > rows && count(&page, "<circle") > 0, "bars and points");
    assert!(count(&page, "<img class=\"map\"") >= 3, "maps of the worst channels");
    assert!(!page.contains("NaN"), "no coordinate is missing");
}
