//! The progress of a run: a live line per running stage on a terminal, plain lines in a pipe, JSON on
//! request.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use stages::Event;

use crate::console::style::{Palette, paint};
use crate::console::summary::Tally;
use crate::console::talk::{say, talk};
use crate::run::event::{Outcome, Retry, RunEvent, StageFinished};
use crate::run::publish::Published;
use crate::text::figures::{count, figures, seconds};
use crate::text::terminal::{printable, safe_json};

use super::live::Live;

/// Shows one run.
pub struct RunView {
    palette: Palette,
    quiet: bool,
    verbose: bool,
    json: bool,
    live: Option<Live>,
    tally: Tally,
    /// The first failure to print an event as JSON.
    lost: Option<io::Error>,
}

impl RunView {
    pub(super) fn new(
        palette: Palette,
        quiet: bool,
        verbose: bool,
        live: bool,
        json: bool,
    ) -> Self {
        let live = (live && !json).then(Live::new);
        RunView { palette, quiet, verbose, json, live, tally: Tally::default(), lost: None }
    }

    /// Shows an event.
    pub fn show(&mut self, event: &RunEvent) {
        if self.json {
            let printed = print_json(event);
            self.lost = self.lost.take().or(printed.err());
            return;
        }
        self.tally.take(event);
        match event {
            RunEvent::RunStarted { .. } => {}
            RunEvent::StageWaiting { stage, message } => {
                self.stage_line(stage, message);
                if let Some(live) = &mut self.live {
                    live.start(stage);
                }
            }
            RunEvent::StageStarted { stage, reason, .. } => {
                self.stage_line(stage, &format!("runs: {reason}"));
                if let Some(live) = &mut self.live {
                    live.start(stage);
                }
            }
            RunEvent::StageFrozen { stage, differs, .. } => {
                if let Some(reason) = differs {
                    self.stage_line(stage, &format!("is frozen, though {reason}"));
                } else if self.verbose {
                    self.stage_line(stage, "is frozen");
                }
            }
            RunEvent::StageRetried { stage, retry } => self.retried(stage, retry),
            RunEvent::StageSays { stage, said } => self.said(stage, said),
            RunEvent::StageFinished(finished) => self.finished(finished),
            RunEvent::Published { path, result: Published::KeptEdited, .. } => {
                let path = printable(&path.display().to_string());
                self.warning(&format!(
                    "`{path}` was edited and was left as it is (`--force` overwrites it)"
                ));
            }
            RunEvent::Published { path, result: Published::KeptForeign, .. } => {
                let path = printable(&path.display().to_string());
                self.warning(&format!(
                    "`{path}` holds something that was never published, and was left as it is; move \
                     it away and run again to publish there"
                ));
            }
            RunEvent::Published { .. } => {}
            RunEvent::Uploading { remote, results } => {
                let results = count(*results, "result");
                if !self.quiet {
                    self.line(&format!("uploading {results} to `{}`", printable(remote)));
                }
            }
            RunEvent::Warning { message } => self.warning(message),
            RunEvent::RunFinished(summary) => {
                self.live = None;
                if !self.quiet {
                    self.tally
                        .lines(summary)
                        .iter()
                        .for_each(|line| talk(line, self.palette.is_colored()));
                }
            }
        }
    }

    /// Ends the view.
    ///
    /// # Errors
    /// Some event could not be printed.
    pub fn finish(self) -> io::Result<()> {
        self.lost.map_or(Ok(()), Err)
    }

    fn said(&mut self, stage: &str, said: &Event) {
        match said {
            Event::Progress { done, total, unit, values } => {
                if let Some(live) = &mut self.live {
                    live.progress(stage, *done, *total, unit, values);
                }
            }
            Event::Metrics { step: Some(step), values } => self.row(stage, *step, values),
            Event::Note { message } => self.stage_line(stage, &printable(message)),
            Event::Warning { message } => {
                self.warning(&format!("{stage}: {}", printable(message)));
            }
            Event::Device { name } => self.stage_line(stage, &format!("on {}", printable(name))),
            // Final metrics and failures come with the end of the stage.
            Event::Metrics { step: None, .. } | Event::Failed { .. } => {}
        }
    }

    fn row(&self, stage: &str, step: u64, values: &BTreeMap<String, f64>) {
        let mut values = values.clone();
        // The name of the row says it already.
        let name = if values.remove("epoch").is_some() { "epoch" } else { "step" };
        self.stage_line(stage, &format!("{name} {step}: {}", figures(&values, 8)));
    }

    fn finished(&mut self, finished: &StageFinished) {
        let stage = finished.stage.as_str();
        if let Some(live) = &mut self.live {
            live.end(stage);
        }
        match finished.outcome {
            Outcome::Hit => {
                if self.verbose && !self.tally.is_frozen(stage) {
                    self.stage_line(stage, "is up to date");
                }
            }
            Outcome::Ran => {
                let metrics = match finished.metrics.is_empty() {
                    true => String::new(),
                    false => format!(": {}", figures(&finished.metrics, 6)),
                };
                let done = paint(self.palette.good, "done");
                self.stage_line(
                    stage,
                    &format!("{done} in {}{metrics}", seconds(finished.seconds)),
                );
            }
            Outcome::Failed => self.failed(finished),
            Outcome::Skipped => {
                let why = finished.message.as_deref().unwrap_or_default();
                self.stage_line(stage, &format!("skipped, since {why}"));
            }
        }
    }

    fn retried(&self, stage: &str, retry: &Retry) {
        let Retry { attempt, attempts, message, .. } = retry;
        let message = printable(message);
        self.warning(&format!(
            "stage `{stage}` failed: {message}; attempt {attempt} of {attempts}"
        ));
        self.log_lines(&retry.last_lines, retry.log.as_deref());
    }

    fn failed(&self, finished: &StageFinished) {
        let message = finished.message.as_deref().unwrap_or_default();
        let error = paint(self.palette.bad, "error:");
        self.line(&format!("{error} stage `{}` failed: {}", finished.stage, printable(message)));
        self.log_lines(&finished.last_lines, finished.log.as_deref());
        if let Some(hint) = &finished.hint {
            self.line(&format!("{} {}", paint(self.palette.dim, "hint:"), printable(hint)));
        }
    }

    fn log_lines(&self, last_lines: &[String], log: Option<&Path>) {
        for line in last_lines {
            self.line(&format!("  {} {line}", paint(self.palette.dim, "|")));
        }
        if let Some(log) = log {
            let shown = crate::plan::reason::shown_path(log);
            self.line(&format!("  {} {shown}", paint(self.palette.dim, "log:")));
        }
    }

    fn stage_line(&self, stage: &str, text: &str) {
        if !self.quiet {
            self.line(&format!("{}  {text}", paint(self.palette.name, stage)));
        }
    }

    fn warning(&self, message: &str) {
        self.line(&format!("{} {message}", paint(self.palette.warning, "warning:")));
    }

    fn line(&self, line: &str) {
        match &self.live {
            Some(live) => broken(line, live.width()).iter().for_each(|line| live.line(line)),
            None => talk(line, self.palette.is_colored()),
        }
    }
}

/// Breaks a line between words into lines that fit on the terminal; continuations are indented.
fn broken(line: &str, width: usize) -> Vec<String> {
    const INDENT: &str = "    ";
    if console::measure_text_width(line) <= width || line.starts_with(' ') {
        return vec![line.to_owned()];
    }
    let mut lines: Vec<String> = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let Some(last) = lines.last_mut() else { continue };
        let wide = console::measure_text_width(format!("{last}{word}").trim_end());
        if wide > width && !last.trim().is_empty() {
            lines.push(format!("{INDENT}{word}"));
        } else {
            last.push_str(word);
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Prints an event as JSON. A reader that has closed its end does not stop the run.
fn print_json(event: &RunEvent) -> io::Result<()> {
    // Names, numbers and reasons always serialize.
    let line = serde_json::to_string(event).unwrap_or_default() + "\n";
    say(safe_json(&line).as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::broken;

    #[test]
    fn a_long_line_breaks_between_words_and_color_codes_take_no_columns() {
        let line = "\u{1b}[1mfinetune\u{1b}[0m  epoch 1: train_loss 0.7, valid_loss 0.8";
        let expected =
            ["\u{1b}[1mfinetune\u{1b}[0m  epoch 1:", "    train_loss 0.7,", "    valid_loss 0.8"];
        assert_eq!(broken(line, 20), expected);
        assert_eq!(broken("short enough", 20), ["short enough"]);
        assert_eq!(broken("averyveryverylongwordindeed", 8), ["averyveryverylongwordindeed"]);
    }
}
