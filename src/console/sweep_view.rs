//! Sweeps for people: the list of them, what one would run, and the table at its end.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::console::plan_view;
use crate::console::style::{Palette, paint};
use crate::console::text::{WIDTH, count, figure, names, table, wrapped};
use crate::pipeline::Pipeline;
use crate::pipeline::sweeps::{Sweep, keys_of};
use crate::plan::Plan;
use crate::reason::value_text;
use crate::show::text::{columns, fit, printable};
use crate::sweep::combine::Row;
use crate::sweep::short_names;
use crate::sweep::table::{Figure, Table, TableRow};

/// A value is cut to this many columns.
const VALUE_WIDTH: usize = 20;

/// Where a table is too wide, headings are cut to this many columns.
const HEADING_WIDTH: usize = 8;

/// `pipe sweep` without arguments.
pub fn list(sweeps: &[Sweep]) -> String {
    let row = |sweep: &Sweep| {
        let keys = keys_of(&sweep.combinations);
        let size = count(sweep.combinations.len(), "combination");
        vec![sweep.name.clone(), size, format!("of {}", names(&keys))]
    };
    table(sweeps.iter().map(row).collect())
}

pub fn list_json(sweeps: &[Sweep]) -> String {
    let line = |sweep: &Sweep| {
        let line = serde_json::json!({
            "sweep": sweep.name,
            "line": sweep.line,
            "combinations": sweep.combinations.len(),
            "keys": keys_of(&sweep.combinations),
            "metric": sweep.metric,
            "order": if sweep.ascending { "ascending" } else { "descending" },
            "over": sweep.over,
        });
        line.to_string() + "\n"
    };
    sweeps.iter().map(line).collect()
}

/// `--dry-run`: how much the combinations share, and the plan.
pub fn plan(
    plan: &Plan,
    pipeline: &Pipeline,
    rows: &[Row],
    palette: &Palette,
    all: bool,
) -> String {
    let apart: usize = rows.iter().map(|row| row.stages.len()).sum();
    let together = pipeline.stages.len();
    let head = format!(
        "{} with {}, of which {together} differ; what is shared runs once",
        count(rows.len(), "combination"),
        count(apart, "stage"),
    );
    let fold = if all { usize::MAX } else { 2 };
    wrapped(&head, 0) + &plan_view::text(plan, pipeline, true, palette, fold)
}

pub fn plan_json(plan: &Plan, pipeline: &Pipeline, rows: &[Row]) -> String {
    let apart: usize = rows.iter().map(|row| row.stages.len()).sum();
    let line = serde_json::json!({
        "event": "sweep_planned",
        "combinations": rows.len(),
        "stages_of_all": apart,
        "stages": pipeline.stages.len(),
    });
    plan_view::json(plan, pipeline) + &line.to_string() + "\n"
}

/// One column of the table.
struct Column {
    /// One line, or two where the last part of the key alone would be ambiguous.
    heading: (String, String),
    cells: Vec<String>,
    /// Numbers are aligned at their ends.
    right: bool,
}

impl Column {
    fn new(key: &str, short: &str, cells: Vec<String>) -> Column {
        let heading = match key.rsplit_once('.') {
            Some((stage, name)) if short == key => (stage.to_owned(), name.to_owned()),
            _ => (String::new(), short.to_owned()),
        };
        let number =
            |cell: &String| cell == "-" || cell.starts_with(|it: char| it.is_ascii_digit());
        Column { heading, right: cells.iter().all(number), cells }
    }

    fn content(&self) -> usize {
        self.cells.iter().map(|cell| columns(cell)).max().unwrap_or(0)
    }

    fn width(&self, narrow: bool) -> usize {
        let heading = columns(&self.heading.0).max(columns(&self.heading.1));
        self.content().max(if narrow { heading.min(HEADING_WIDTH) } else { heading })
    }

    fn put(&self, text: &str, width: usize) -> String {
        let text = fit(text, width);
        let space = " ".repeat(width - columns(&text));
        if self.right { space + &text } else { text + &space }
    }
}

/// The table at the end, its best row first.
pub fn text(of: &Table, palette: &Palette) -> String {
    let mut fixed: Vec<Column> = Vec::new();
    let rank: Vec<String> = (1..=of.rows.len()).map(|rank| rank.to_string()).collect();
    fixed.push(Column::new("#", "#", rank));
    let metrics = shown_metrics(of);
    let metric_names = short_names(&metrics);
    let metric = |index: usize| {
        let cell = |row: &TableRow| {
            row.metrics.get(&metrics[index]).map(figure_text).unwrap_or_else(|| "-".to_owned())
        };
        Column::new(&metrics[index], &metric_names[index], of.rows.iter().map(cell).collect())
    };
    if of.metric.is_some() {
        fixed.push(metric(0));
    }
    if !of.over.is_empty() {
        let runs = |row: &TableRow| match row.done == row.runs {
            true => row.runs.to_string(),
            false => format!("{} of {}", row.done, row.runs),
        };
        fixed.push(Column::new("runs", "runs", of.rows.iter().map(runs).collect()));
    }
    let mut same = Vec::new();
    let names = short_names(&of.keys);
    for (index, key) in of.keys.iter().enumerate() {
        let values: BTreeSet<String> =
            of.rows.iter().map(|row| format!("{:?}", row.values[index])).collect();
        if values.len() == 1 && of.rows.len() > 1 {
            same.push(format!("{key} {}", value_cell(&of.rows[0].values[index])));
            continue;
        }
        let cells = of.rows.iter().map(|row| value_cell(&row.values[index])).collect();
        fixed.push(Column::new(key, &names[index], cells));
    }
    let width = |columns: &[Column], narrow: bool| -> usize {
        columns.iter().map(|column| column.width(narrow) + 2).sum::<usize>().saturating_sub(2)
    };
    let narrow = width(&fixed, false) > WIDTH;
    let before = fixed.len();
    for index in usize::from(of.metric.is_some())..metrics.len() {
        let next = metric(index);
        if width(&fixed, narrow) + 2 + next.width(narrow) <= WIDTH {
            fixed.push(next);
        }
    }
    let mut text = wrapped(&caption(of, &same), 0) + "\n";
    for line in [0, 1] {
        let heading = |column: &Column| {
            let text = if line == 0 { &column.heading.0 } else { &column.heading.1 };
            column.put(text, column.width(narrow))
        };
        let cells: Vec<String> = fixed.iter().map(heading).collect();
        if cells.iter().any(|cell| !cell.trim().is_empty()) {
            let line = fit(cells.join("  ").trim_end(), WIDTH);
            text += &format!("{}\n", paint(palette.dim, &line));
        }
    }
    for (index, row) in of.rows.iter().enumerate() {
        let problem = problem(row);
        let shown = if problem.is_some() { &fixed[..before] } else { &fixed[..] };
        let cell = |column: &Column| column.put(&column.cells[index], column.width(narrow));
        let mut line = shown.iter().map(cell).collect::<Vec<_>>().join("  ");
        if let Some(problem) = problem {
            line += &format!("  {problem}");
        }
        text += &format!("{}\n", fit(line.trim_end(), WIDTH));
    }
    text
}

fn caption(of: &Table, same: &[String]) -> String {
    let done: usize = of.rows.iter().map(|row| row.done).sum();
    let runs: usize = of.rows.iter().map(|row| row.runs).sum();
    let mut parts = vec![match done == runs {
        true => count(runs, "combination"),
        false => format!("{done} of {} are done", count(runs, "combination")),
    }];
    if let Some(metric) = &of.metric {
        parts.push(format!("sorted by {}", printable(metric)));
    }
    if !of.over.is_empty() {
        let over: Vec<&str> = of.over.iter().map(String::as_str).collect();
        parts.push(format!("mean ± standard deviation over {}", names(&over)));
    }
    if !same.is_empty() {
        parts.push(format!("all with {}", same.join(", ")));
    }
    parts.join("; ")
}

/// The metric of the table, then those of its stage that a built-in wants to be seen.
fn shown_metrics(of: &Table) -> Vec<String> {
    let known: BTreeSet<&String> = of.rows.iter().flat_map(|row| row.metrics.keys()).collect();
    let mut shown: Vec<String> = of.metric.clone().into_iter().collect();
    let stage = of.metric.as_deref().and_then(|metric| metric.rsplit_once('.')).map(|(it, _)| it);
    if let Some(stage) = stage {
        let headline = stages::all().iter().flat_map(|stage| stage.headline());
        for name in headline.map(|name| format!("{stage}.{name}")) {
            if known.contains(&name) && !shown.contains(&name) {
                shown.push(name);
            }
        }
    }
    shown
}

fn problem(row: &TableRow) -> Option<String> {
    if row.done > 0 {
        return None;
    }
    Some(match &row.problem {
        Some((stage, message)) => {
            let family = crate::pipeline::variants::family(stage);
            format!("failed: {family}: {}", printable(message))
        }
        None => "not finished".to_owned(),
    })
}

fn figure_text(of: &Figure) -> String {
    match of.deviation {
        Some(deviation) => format!("{} ± {}", four(of.mean), four(deviation)),
        None => four(of.mean),
    }
}

/// As [`figure`], with as many digits in every row.
fn four(value: f64) -> String {
    let size = value.abs();
    match (0.001..10.0).contains(&size) {
        true => format!("{value:.4}"),
        false => figure(value),
    }
}

/// The end of a long value tells more than its beginning: a model's name.
fn value_cell(value: &Option<Value>) -> String {
    let text = value.as_ref().map_or("-".to_owned(), |value| printable(&value_text(value)));
    let length = text.chars().count();
    if columns(&text) <= VALUE_WIDTH {
        return text;
    }
    let end: String = text.chars().skip(length - (VALUE_WIDTH - 1)).collect();
    format!("…{end}")
}
