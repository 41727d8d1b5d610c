//! A table that fits the terminal: narrow columns keep their width, wide columns share the rest,
//! and truncated cells end in `…`.

use crate::text::terminal::{columns, fit};

const GAP: usize = 2;
/// The least width of a truncated column.
const MIN_WIDTH: usize = 6;

/// How the cells of a column are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Formats a header, a rule and the rows. Every row has as many cells as there are heads; cells
/// are printable. Columns that do not fit at all are named in a last line.
pub(super) fn table(heads: &[(&str, Align)], rows: &[Vec<String>], width: usize) -> String {
    let natural: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(index, (head, _))| {
            let cells = rows.iter().map(|row| columns(&row[index]));
            cells.chain([columns(head)]).max().unwrap_or_default().max(1)
        })
        .collect();
    let shown = how_many_fit(&natural, width);
    let widths = widths(&natural[..shown], width);
    let mut out = String::new();
    let head_cells: Vec<&str> = heads.iter().map(|(head, _)| *head).collect();
    push_row(&mut out, &head_cells[..shown], heads, &widths);
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    out.push_str(&rule.join(&" ".repeat(GAP)));
    out.push('\n');
    for row in rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        push_row(&mut out, &cells[..shown], heads, &widths);
    }
    if shown < heads.len() {
        let rest = head_cells[shown..].join(", ");
        out.push_str(&fit(&format!("… and the columns {rest}"), width));
        out.push('\n');
    }
    out
}

fn push_row(out: &mut String, cells: &[&str], heads: &[(&str, Align)], widths: &[usize]) {
    let mut line = String::new();
    for (index, ((cell, width), (_, align))) in cells.iter().zip(widths).zip(heads).enumerate() {
        if index > 0 {
            line.push_str(&" ".repeat(GAP));
        }
        let cell = fit(cell, *width);
        let space = " ".repeat(width.saturating_sub(columns(&cell)));
        match align {
            Align::Left => line.extend([cell, space]),
            Align::Right => line.extend([space, cell]),
        }
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// The number of columns that fit, truncated to the minimum width if need be.
fn how_many_fit(natural: &[usize], width: usize) -> usize {
    let mut used = 0;
    let fitting = natural.iter().enumerate().take_while(|(index, natural)| {
        used += (**natural).min(MIN_WIDTH) + if *index > 0 { GAP } else { 0 };
        used <= width
    });
    fitting.count().max(1).min(natural.len())
}

/// Distributes the width: columns that need less than a fair share get what they need, the others
/// share the rest equally.
fn widths(natural: &[usize], width: usize) -> Vec<usize> {
    let mut left = width.saturating_sub(GAP * natural.len().saturating_sub(1));
    let mut by_width: Vec<usize> = (0..natural.len()).collect();
    by_width.sort_by_key(|index| natural[*index]);
    let mut widths = vec![0; natural.len()];
    for (done, index) in by_width.iter().enumerate() {
        let share = left / (natural.len() - done);
        widths[*index] = natural[*index].min(share).max(1);
        left = left.saturating_sub(widths[*index]);
    }
    widths
}
