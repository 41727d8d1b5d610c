//! The result of `pipe verify`: by how much the runs of one stage differ.

use std::fmt::Write;

use crate::console::style::{Palette, paint};
use crate::console::view::{Page, View, json_line};
use crate::results::compare::verified::Verified;
use crate::results::compare::{FileDifference, How};
use crate::text::figures::{count, figure, grouped, seconds};
use crate::text::terminal::{fit, printable, table};
use crate::text::variants::names;
use stages::data::tensor_differences::{TensorDifference, Unlike};

/// Whether a stage is bit-stable.
pub struct VerifiedView<'a> {
    pub verified: &'a Verified,
}

impl View for VerifiedView<'_> {
    fn text(&self, page: &Page) -> String {
        text(self.verified, &page.palette)
    }

    fn json(&self) -> String {
        json_line(self.verified)
    }
}

/// The number of tensors of a file to list, at most.
const SHOWN: usize = 10;

fn text(verified: &Verified, palette: &Palette) -> String {
    let mut text = String::new();
    for comparison in &verified.comparisons {
        let (first, second) = (&comparison.first, &comparison.second);
        if comparison.differences.is_empty() {
            let _ = writeln!(text, "{first} and {second}: the same bytes");
            continue;
        }
        let outputs: Vec<&str> = comparison.differences.keys().map(String::as_str).collect();
        let verb = if outputs.len() == 1 { "differs" } else { "differ" };
        let _ = writeln!(text, "{first} and {second}: {} {verb}", printable(&names(&outputs)));
        for difference in comparison.differences.values().flatten() {
            text.push_str(&file(difference));
        }
    }
    let times: Vec<String> = verified.seconds.iter().map(|took| seconds(*took)).collect();
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    let (verdict, style) = match verified.stable {
        true => ("bit-stable", palette.good),
        false => ("not bit-stable", palette.bad),
    };
    let device = verified.device.as_ref().map(|device| format!(" on {}", printable(device)));
    let _ = writeln!(
        text,
        "{} is {} in {} of {}{}{}",
        paint(palette.name, &printable(&verified.stage)),
        paint(style, verdict),
        count(times.len(), "run"),
        names(&times),
        device.unwrap_or_default(),
        if verified.cached { "" } else { "; there is no cached result to compare with" }
    );
    text
}

fn file(difference: &FileDifference) -> String {
    let name = printable(&difference.file);
    match &difference.how {
        How::OnlyInFirst => format!("  {name}: only in the first\n"),
        How::OnlyInSecond => format!("  {name}: only in the second\n"),
        How::OnlyFirstExecutable => format!("  {name}: executable only in the first\n"),
        How::OnlySecondExecutable => format!("  {name}: executable only in the second\n"),
        How::Lines { lines, differing, first_line } => format!(
            "  {name}: {} of {}, first line {}\n",
            grouped(*differing),
            count(*lines as usize, "line"),
            grouped(*first_line)
        ),
        How::Bytes { bytes: (first, second), first_byte } => {
            let sizes = match first == second {
                true => format!("{} bytes", grouped(*first)),
                false => format!("{} against {} bytes", grouped(*first), grouped(*second)),
            };
            format!("  {name}: from byte {} on, {sizes}\n", grouped(*first_byte))
        }
        How::Tensors { differing, .. } if differing.is_empty() => {
            format!("  {name}: the same tensors, another header\n")
        }
        How::Tensors { tensors, differing } => {
            let of = count(*tensors, "tensor");
            let mut text = format!("  {name}: {} of {of}\n", differing.len());
            text.push_str(&table(differing.iter().take(SHOWN).map(tensor).collect()));
            if differing.len() > SHOWN {
                let _ = writeln!(text, "    … {} more", differing.len() - SHOWN);
            }
            text
        }
    }
}

fn tensor(difference: &TensorDifference) -> Vec<String> {
    let mut cells = vec![format!("    {}", fit(&printable(&difference.tensor), 40))];
    cells.extend(match &difference.unlike {
        Unlike::Numbers { max_abs, relative, .. } => {
            vec![format!("max {}", size(*max_abs)), format!("relative {}", size(*relative))]
        }
        Unlike::Kinds { first, second } => vec![format!("{first} against {second}")],
    });
    cells
}

fn size(value: f64) -> String {
    if value.is_finite() { figure(value) } else { "infinite".to_owned() }
}
