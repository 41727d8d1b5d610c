//! The live area of a run, with a line for each running stage; and a progress bar for other long
//! work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::files::threads;
use crate::text::figures::{figure, grouped, seconds};
use crate::text::terminal::{printable, safe};

pub struct Live {
    area: MultiProgress,
    stages: BTreeMap<String, Line>,
}

struct Line {
    bar: ProgressBar,
    /// When the current count towards a total began, and at which value.
    since: Option<(Instant, u64, Option<u64>)>,
}

impl Live {
    pub fn new() -> Live {
        Live { area: MultiProgress::new(), stages: BTreeMap::new() }
    }

    /// The width of the terminal in columns.
    pub fn width(&self) -> usize {
        usize::from(console::Term::stderr().size().1)
    }

    /// Adds a line for a stage, replacing the one that it may have.
    pub fn start(&mut self, stage: &str) {
        self.end(stage);
        let bar = self.area.add(ProgressBar::new_spinner());
        // The template is a constant; if it were wrong, the default style would do.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(stage.to_owned());
        // It starts a thread. Without one the line changes only when the stage reports something.
        if threads::can_start() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.stages.insert(stage.to_owned(), Line { bar, since: None });
    }

    pub fn progress(
        &mut self,
        stage: &str,
        done: u64,
        total: Option<u64>,
        unit: &str,
        values: &BTreeMap<String, f64>,
    ) {
        let Some(line) = self.stages.get_mut(stage) else { return };
        let (began, first) = match line.since {
            Some((began, first, same)) if same == total && done >= first => (began, first),
            _ => {
                let now = Instant::now();
                line.since = Some((now, done, total));
                (now, done)
            }
        };
        let left = total
            .and_then(|total| time_left(began.elapsed(), done - first, total - done.min(total)));
        line.bar.set_message(message(done, total, unit, values, left));
    }

    pub fn end(&mut self, stage: &str) {
        if let Some(line) = self.stages.remove(stage) {
            line.bar.finish_and_clear();
        }
    }

    /// Prints a line above the live area.
    pub fn line(&self, line: &str) {
        // The terminal may be closed.
        let _ = self.area.println(safe(line, true));
    }
}

/// The progress of one long piece of work, advanced by several threads.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Progress over so many bytes; without a number nothing is shown.
    pub fn new(what: &'static str, bytes: Option<u64>) -> Progress {
        Progress(bytes.map(|bytes| {
            let bar = ProgressBar::new(bytes);
            let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.with_prefix(what)
        }))
    }

    /// Adds to the total.
    pub fn grow(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc_length(bytes);
        }
    }

    pub fn advance(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Estimates the remaining time in seconds from the pace so far, after at least one second.
fn time_left(elapsed: Duration, done: u64, rest: u64) -> Option<f64> {
    (done > 0 && elapsed >= Duration::from_secs(1))
        .then(|| elapsed.as_secs_f64() / done as f64 * rest as f64)
}

fn message(
    done: u64,
    total: Option<u64>,
    unit: &str,
    values: &BTreeMap<String, f64>,
    left: Option<f64>,
) -> String {
    let unit = printable(unit);
    let mut parts = vec![match total {
        Some(total) => format!("{}/{} {unit}", grouped(done), grouped(total)),
        None => format!("{} {unit}", grouped(done)),
    }];
    for (name, value) in values {
        parts.push(match name.strip_suffix("_per_second") {
            Some(thing) => format!("{} {}/s", grouped(value.max(0.0) as u64), printable(thing)),
            None => format!("{} {}", printable(name), figure(*value)),
        });
    }
    if let Some(left) = left {
        parts.push(format!("{} left", seconds(left)));
    }
    parts.join(" · ")
}
