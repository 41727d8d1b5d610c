//! The page in a headless Chromium, if there is one: `PIPE_CHROMIUM`, or one on the `PATH`. A script
//! added to a copy of the page measures it, sorts tables, and switches the theme.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{baseline, hostile, learning};
use crate::harness::Project;

const PROBE: &str = r#"<script>addEventListener("load", () => {
  const all = (what) => [...document.querySelectorAll(what)];
  const found = { width: innerWidth, overflow: document.documentElement.scrollWidth - innerWidth };
  found.requests = performance.getEntriesByType("resource").length;
  all("details").forEach((it) => { it.open = true; });
  found.charts = all("svg.drawing").map((it) => {
    const box = it.getBoundingClientRect();
    return [it.getAttribute("aria-label"), box.width, box.height];
  });
  const table = all("table.sortable").at(0);
  const column = all("table.sortable th.number").find((it) => it.closest("table") === table);
  const place = [...column.parentNode.cells].indexOf(column);
  const values = () => [...table.tBodies[0].rows].map((row) => row.cells[place].dataset.sort);
  column.querySelector("button").click();
  found.down = values();
  column.querySelector("button").click();
  found.up = values();
  found.sorted = column.getAttribute("aria-sort");
  const theme = document.getElementById("theme");
  found.themes = [0, 1, 2].map(() => {
    theme.click();
    const style = getComputedStyle(document.body);
    return [document.documentElement.dataset.theme ?? "auto", style.backgroundColor, style.color];
  });
  const drawing = all("svg.drawing").at(0);
  drawing.focus();
  drawing.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
  found.tip = document.getElementById("tip").textContent;
  found.marks = document.querySelectorAll("main img, main script, main style").length;
  parent.postMessage(JSON.stringify(found), "*");
});</script>"#;

pub fn browser() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("PIPE_CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let files = names.iter().flat_map(|name| folders.iter().map(move |it| it.join(name)));
    files.into_iter().find(|file| file.is_file())
}

/// As [`shown`], of a file of the project.
#[track_caller]
fn shown_file(browser: &Path, project: &Project, file: &str) -> (String, Vec<String>) {
    shown(browser, project, &format!("file://{}", project.path(file).display()))
}

/// The elements of the page after its script has run, and the messages on the console.
#[track_caller]
pub fn shown(browser: &Path, project: &Project, url: &str) -> (String, Vec<String>) {
    let profile = project.path("profile");
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=4000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("--window-size=1600,1000")
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let console = said.lines().filter(|line| line.contains("CONSOLE"));
    let console = console.map(str::to_owned).collect();
    (String::from_utf8_lossy(&output.stdout).into_owned(), console)
}

/// Opens the page, which must print nothing on the console, and measures a copy at widths of 390
/// and 1,440 pixels.
#[track_caller]
fn check_report(browser: &Path, project: &Project, charts: usize) {
    let (shown_page, console) = shown_file(browser, project, "report.html");
    assert_eq!(console, Vec::<String>::new());
    // The script of the page has run under the policy of the page.
    assert!(shown_page.contains("Theme: auto"), "the script was not run");
    let page = project.read("report.html");
    let policy = page.find("<meta http-equiv").unwrap();
    let end = policy + page[policy..].find('>').unwrap() + 1;
    let copy = format!("{}{}", &page[..policy], &page[end..]);
    project.write("probe.html", &copy.replace("</body>", &format!("{PROBE}</body>")));
    // A window cannot be as narrow as a phone, but a frame can.
    let frame = |width: u32| {
        format!("<iframe width={width} height=900 style='border:0' src=probe.html></iframe>")
    };
    let frames = format!(
        "<!doctype html><script>onmessage = (it) => {{ const said = document.createElement('p'); \
         said.dataset.found = it.data; document.body.append(said); }}</script><body>{}{}</body>",
        frame(390),
        frame(1440)
    );
    project.write("frames.html", &frames);
    let (frames, console) = shown_file(browser, project, "frames.html");
    assert_eq!(console, Vec::<String>::new());
    let found = frames.split("data-found=\"").skip(1).map(|found| {
        let text = found.split('"').next().unwrap();
        let text = text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
        serde_json::from_str::<Value>(&text.replace("&amp;", "&")).unwrap()
    });
    let mut found: Vec<Value> = found.collect();
    found.sort_by_key(|it| it["width"].as_u64());
    assert_eq!(found.len(), 2, "{frames:.2000}");
    check(&found[0], 390, charts);
    check(&found[1], 1440, charts);
}

#[track_caller]
fn check(found: &Value, width: u32, charts: usize) {
    assert_eq!(found["width"], width);
    assert!(found["overflow"].as_i64().unwrap() <= 0, "wider than the window: {found}");
    assert_eq!((&found["requests"], &found["marks"]), (&0.into(), &0.into()));
    let drawn = found["charts"].as_array().unwrap();
    assert!(drawn.len() >= charts, "{drawn:?}");
    for chart in drawn {
        let (across, down) = (chart[1].as_f64().unwrap(), chart[2].as_f64().unwrap());
        assert!((120.0..2_500.0).contains(&across) && (40.0..1_500.0).contains(&down), "{chart}");
    }
    let numbers = |name: &str| -> Vec<f64> {
        let values = found[name].as_array().unwrap().iter();
        values.filter_map(|it| it.as_str()?.parse().ok()).collect()
    };
    let (up, down) = (numbers("up"), numbers("down"));
    assert!(up.len() > 1 && up.is_sorted() && down.is_sorted_by(|one, two| one >= two), "{found}");
    assert_eq!(found["sorted"], "ascending");
    let themes = &found["themes"];
    assert_eq!([&themes[0][0], &themes[1][0], &themes[2][0]], ["light", "dark", "auto"]);
    assert!(contrast(&themes[0]) > 7.0 && contrast(&themes[1]) > 7.0, "{themes}");
    assert_ne!(themes[0][1], themes[1][1]);
    assert_ne!(found["tip"], "");
}

/// The contrast between text and background, as WCAG 2 defines it.
fn contrast(theme: &Value) -> f64 {
    let luminance = |color: &Value| {
        let digits = |it: char| !it.is_ascii_digit();
        let parts = color.as_str().unwrap().split(digits).filter_map(|it| it.parse::<f64>().ok());
        let linear = parts.take(3).map(|it| it / 255.0).map(|it| match it <= 0.04045 {
            true => it / 12.92,
            false => ((it + 0.055) / 1.055).powf(2.4),
        });
        linear.zip([0.2126, 0.7152, 0.0722]).map(|(part, weight)| part * weight).sum::<f64>()
    };
    let (one, two) = (luminance(&theme[1]), luminance(&theme[2]));
    (one.max(two) + 0.05) / (one.min(two) + 0.05)
}

#[test]
fn a_browser_shows_every_report_without_a_word_on_the_console() {
    let Some(browser) = browser() else {
        return eprintln!("skipped: no Chromium in the PATH, and PIPE_CHROMIUM is not set");
    };
    let project = baseline();
    project.run(&[]).expect_code(0);
    for c in ["0.1", "0.01"] {
        project.run(&["--set", &format!("guess.c={c}")]).expect_code(0);
    }
    let failed = hostile(7);
    failed.pipe(&["report"]).expect_code(0);
    check_report(&browser, &failed, 5);
    for (runs, charts) in [("1", 7), ("2", 1), ("3", 1)] {
        project.pipe(&["report", "-n", runs]).expect_code(0);
        check_report(&browser, &project, charts);
    }
    let learned = learning();
    learned.pipe(&["sweep", "grid"]).expect_code(0);
    learned.pipe(&["report"]).expect_code(0);
    check_report(&browser, &learned, 3);
    for rate in 1..=30 {
        learned.run(&["--set", &format!("train.rate={rate}")]).expect_code(0);
    }
    learned.pipe(&["report", "-n", "30"]).expect_code(0);
    check_report(&browser, &learned, 3);
}
