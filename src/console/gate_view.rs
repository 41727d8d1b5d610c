//! The verdict of `pipe gate`, for people and as a comment on a pull request.

use std::fmt::Write;

use crate::console::style::paint;
use crate::console::view::{Page, View, json_line};
use crate::results::gate::{Gate, Verdict};
use crate::text::figures::{figure, grouped};
use crate::text::terminal::{printable, wrapped};

/// A verdict.
pub struct GateView<'a> {
    pub gate: &'a Gate,
    pub markdown: bool,
}

impl View for GateView<'_> {
    fn text(&self, page: &Page) -> String {
        let gate = self.gate;
        if self.markdown {
            return markdown(gate);
        }
        let (style, word) = match gate.verdict {
            Verdict::Passed => (page.palette.good, "passed"),
            Verdict::Worse => (page.palette.bad, "worse"),
            Verdict::Undecided => (page.palette.warning, "undecided"),
        };
        let mut text = format!("{}  {}\n", paint(style, word), printable(&gate.metric));
        let lines = [said(gate), figures(gate), changed(gate)];
        lines.iter().for_each(|line| text.push_str(&wrapped(&printable(line), 2)));
        text
    }

    fn json(&self) -> String {
        json_line(self.gate)
    }
}

/// The verdict in a sentence.
fn said(gate: &Gate) -> String {
    let (loss, sure) = (figure(gate.max_loss), figure(100.0 * gate.confidence));
    match gate.verdict {
        Verdict::Passed => format!("Not worse by more than {loss}, with {sure} % confidence."),
        Verdict::Worse => format!("Worse by more than {loss}, with {sure} % confidence."),
        Verdict::Undecided => {
            let rows = grouped(gate.rows);
            let advice = match gate.rows_needed {
                Some(needed) => format!("about {} rows like these would", grouped(needed)),
                None => {
                    "the difference is too near to what is allowed for any number of rows".into()
                }
            };
            format!("{rows} rows cannot tell whether it is worse by more than {loss}: {advice}.")
        }
    }
}

fn figures(gate: &Gate) -> String {
    let [low, high] = gate.interval;
    format!(
        "{} → {}, {} ({} to {}), run {} against {}",
        figure(gate.old),
        figure(gate.new),
        signed(gate.difference),
        signed(low),
        signed(high),
        gate.run,
        gate.against
    )
}

fn changed(gate: &Gate) -> String {
    format!(
        "{} rows: {} became right, {} became wrong (McNemar's test: p {})",
        grouped(gate.rows),
        grouped(gate.became_right),
        grouped(gate.became_wrong),
        figure(gate.mcnemar_p)
    )
}

fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "+" };
    format!("{sign}{}", figure(value.abs()))
}

fn markdown(gate: &Gate) -> String {
    let word = match gate.verdict {
        Verdict::Passed => "passed",
        Verdict::Worse => "failed",
        Verdict::Undecided => "undecided",
    };
    let [low, high] = gate.interval;
    let mut text = format!("### `{}`: {word}\n\n{}\n\n", printable(&gate.metric), said(gate));
    let _ = writeln!(text, "| | run | {} |", printable(&gate.metric));
    text.push_str("|---|---|---|\n");
    let _ = writeln!(text, "| before | `{}` | {} |", gate.against, figure(gate.old));
    let _ = writeln!(text, "| now | `{}` | {} |", gate.run, figure(gate.new));
    let (difference, low, high) = (signed(gate.difference), signed(low), signed(high));
    let _ = writeln!(text, "| difference | | {difference} ({low} to {high}) |");
    let _ = writeln!(text, "\n{}.", changed(gate));
    text
}
