//! Sweeps as text: the list of sweeps, the plan of one, and the table at its end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::console::plan_view;
use crate::console::style::{Palette, paint};
use crate::console::view::{Page, View, json_line};
use crate::pipeline::Pipeline;
use crate::pipeline::sweeps::{Sweep, keys_of};
use crate::plan::Plan;
use crate::results::race::Race;
use crate::results::sweep::combine::SweepRow;
use crate::results::sweep::curve::{LearningCurve, curve};
use crate::results::sweep::results::Came;
use crate::results::sweep::short_names;
use crate::results::sweep::table::{Mean, Table, TableRow};
use crate::text::figures::{count, four, grouped};
use crate::text::terminal::{WIDTH, columns, fit, printable, table, wrapped};
use crate::text::values::value_text;
use crate::text::variants::family;
use crate::text::variants::names;

/// The sweeps of a pipeline file.
pub struct SweepsView<'a> {
    pub sweeps: &'a [Sweep],
}

impl View for SweepsView<'_> {
    fn text(&self, _: &Page) -> String {
        list(self.sweeps)
    }

    fn json(&self) -> String {
        list_json(self.sweeps)
    }
}

/// What a sweep would run.
pub struct SweepPlanView<'a> {
    pub plan: &'a Plan,
    pub pipeline: &'a Pipeline,
    pub rows: &'a [SweepRow],
    /// Whether and how its combinations would race.
    pub race: Option<&'a Race>,
}

impl View for SweepPlanView<'_> {
    fn text(&self, page: &Page) -> String {
        let race = self.race.map_or(String::new(), |race| wrapped(&planned(race), 0));
        race + &plan(self.plan, self.pipeline, self.rows, &page.palette, page.verbose)
    }

    fn json(&self) -> String {
        let race = self.race.map_or(String::new(), planned_json);
        plan_json(self.plan, self.pipeline, self.rows) + &race
    }
}

/// The combinations of a sweep with their results.
pub struct SweepTableView<'a> {
    pub table: &'a Table,
}

impl View for SweepTableView<'_> {
    fn text(&self, page: &Page) -> String {
        text(self.table, &page.palette)
            + &curve(self.table).map_or(String::new(), |it| learned(&it))
    }

    fn json(&self) -> String {
        let line = |curve: LearningCurve| {
            json_line(&serde_json::json!({"event": "learning_curve", "curve": curve}))
        };
        crate::results::sweep::table::json(self.table)
            + &curve(self.table).map_or(String::new(), line)
    }
}

/// What a race would run.
fn planned(race: &Race) -> String {
    let over: Vec<&str> = race.over.iter().map(String::as_str).collect();
    format!(
        "a race of {} in {}, over {}; at most these runs:",
        count(race.configurations.len(), "configuration"),
        count(race.meetings, "meeting"),
        names(&over)
    )
}

fn planned_json(race: &Race) -> String {
    json_line(&serde_json::json!({
        "event": "race_planned",
        "over": race.over,
        "configurations": race.configurations.len(),
        "meetings": race.meetings,
        "runs_at_most": race.configurations.len() * race.meetings,
        "margin": race.margin,
    }))
}

/// The learning curve, below the table.
fn learned(curve: &LearningCurve) -> String {
    format!("\n{}", wrapped(&format!("learning curve: {}", printable(&curve.to_string())), 0))
}

/// The width of a value in columns, at most; in a table that is too wide, `NARROW_VALUE`.
const VALUE_WIDTH: usize = 20;
const NARROW_VALUE: usize = 8;

/// The width of a heading in columns, at most, in a table that is too wide.
const HEADING_WIDTH: usize = 8;

/// The list of `pipe sweep` without arguments.
fn list(sweeps: &[Sweep]) -> String {
    let row = |sweep: &Sweep| {
        let keys = keys_of(&sweep.combinations);
        let size = count(sweep.combinations.len(), "combination");
        vec![sweep.name.clone(), size, format!("of {}", names(&keys))]
    };
    table(sweeps.iter().map(row).collect())
}

fn list_json(sweeps: &[Sweep]) -> String {
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

/// `--dry-run`: how many stages the combinations share, and the plan.
fn plan(
    plan: &Plan,
    pipeline: &Pipeline,
    rows: &[SweepRow],
    palette: &Palette,
    all: bool,
) -> String {
    let apart: usize = rows.iter().map(|row| row.stages.len()).sum();
    let head = format!(
        "{} with {}, of which {} differ; shared stages run once",
        count(rows.len(), "combination"),
        count(apart, "stage"),
        grouped(pipeline.stages.len() as u64),
    );
    let fold = if all { usize::MAX } else { 2 };
    wrapped(&head, 0) + &plan_view::text(plan, pipeline, true, palette, fold)
}

fn plan_json(plan: &Plan, pipeline: &Pipeline, rows: &[SweepRow]) -> String {
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
    /// One line, or two if the last part of the key alone would be ambiguous.
    heading: (String, String),
    cells: Vec<String>,
    /// Numbers are aligned right.
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
pub(super) fn text(of: &Table, palette: &Palette) -> String {
    let metrics = shown_metrics(of);
    let metric_names = short_names(&metrics);
    let metric = |index: usize| {
        let cell = |row: &TableRow| match row.metrics.get(&metrics[index]) {
            _ if row.done == 0 && index == 0 => outcome(row),
            Some(figure) => figure_text(figure),
            None => "-".to_owned(),
        };
        Column::new(&metrics[index], &metric_names[index], of.rows.iter().map(cell).collect())
    };
    let (axes, same) = axes(of);
    let fixed = |value_width: usize| -> Vec<Column> {
        let rank = (1..=of.rows.len()).map(|rank| rank.to_string()).collect();
        let mut fixed = vec![Column::new("#", "#", rank)];
        if of.metric.is_some() {
            fixed.push(metric(0));
        } else if of.rows.iter().any(|row| row.done == 0) {
            fixed.push(Column::new("outcome", "outcome", of.rows.iter().map(outcome).collect()));
        }
        if !of.over.is_empty() {
            fixed.push(Column::new("runs", "runs", of.rows.iter().map(runs).collect()));
        }
        for (index, short) in &axes {
            let cell = |row: &TableRow| value_cell(&row.values[*index], value_width);
            let cells = of.rows.iter().map(cell).collect();
            fixed.push(Column::new(&of.keys[*index], short, cells));
        }
        fixed
    };
    let width = |columns: &[Column], narrow: bool| -> usize {
        columns.iter().map(|column| column.width(narrow) + 2).sum::<usize>().saturating_sub(2)
    };
    // Headings are truncated first, then values.
    let narrow = width(&fixed(VALUE_WIDTH), false) > WIDTH;
    let fits = |value_width: &usize| width(&fixed(*value_width), narrow) <= WIDTH;
    let value_width = (NARROW_VALUE..=VALUE_WIDTH).rev().find(fits).unwrap_or(NARROW_VALUE);
    let mut fixed = fixed(value_width);
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
    for index in 0..of.rows.len() {
        let cell = |column: &Column| column.put(&column.cells[index], column.width(narrow));
        let line = fixed.iter().map(cell).collect::<Vec<_>>().join("  ");
        text += &format!("{}\n", fit(line.trim_end(), WIDTH));
    }
    text + &problems(of)
}

/// The keys that become columns, with their short names. Keys with a single value are named in a
/// sentence instead.
fn axes(of: &Table) -> (Vec<(usize, String)>, Vec<String>) {
    let (mut axes, mut same) = (Vec::new(), Vec::new());
    for (index, short) in short_names(&of.keys).into_iter().enumerate() {
        let values: BTreeSet<String> =
            of.rows.iter().map(|row| format!("{:?}", row.values[index])).collect();
        if values.len() == 1 && of.rows.len() > 1 {
            let value = value_cell(&of.rows[0].values[index], WIDTH);
            same.push(format!("{} {value}", of.keys[index]));
        } else {
            axes.push((index, short));
        }
    }
    (axes, same)
}

fn runs(row: &TableRow) -> String {
    match row.done == row.runs {
        true => row.runs.to_string(),
        false => format!("{} of {}", row.done, row.runs),
    }
}

fn outcome(row: &TableRow) -> String {
    match row.came {
        Came::Done => "done".to_owned(),
        Came::Failed => "failed".to_owned(),
        Came::Unfinished => "-".to_owned(),
    }
}

/// Lines below the table, such as `#24 and #25: finetune failed: out of memory`.
fn problems(of: &Table) -> String {
    let mut rows: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    for (index, row) in of.rows.iter().enumerate() {
        if let Some((stage, message)) = &row.problem {
            let stage = family(stage).to_owned();
            rows.entry((stage, message)).or_default().push(format!("#{}", index + 1));
        }
    }
    let mut text = String::new();
    for ((stage, message), rows) in rows {
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let line = format!("{}: `{stage}` failed: {}", names(&rows), printable(message));
        let gap = if text.is_empty() { "\n" } else { "" };
        text += &format!("{gap}{}", wrapped(&line, 0));
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

/// The metric of the table, then the headline metrics of its stage.
fn shown_metrics(of: &Table) -> Vec<String> {
    let known: BTreeSet<&String> = of.rows.iter().flat_map(|row| row.metrics.keys()).collect();
    let mut shown: Vec<String> = of.metric.clone().into_iter().collect();
    let stage = of.metric.as_deref().and_then(|metric| metric.rsplit_once('.')).map(|(it, _)| it);
    if let Some(stage) = stage {
        let headline = stages::headline(|name| known.contains(&format!("{stage}.{name}")));
        for name in headline.into_iter().map(|name| format!("{stage}.{name}")) {
            if !shown.contains(&name) {
                shown.push(name);
            }
        }
    }
    shown
}

fn figure_text(of: &Mean) -> String {
    match of.deviation {
        Some(deviation) => format!("{} ± {}", four(of.mean), four(deviation)),
        None => four(of.mean),
    }
}

/// Truncates a long value at its beginning: the end, such as the name of a model, tells more.
fn value_cell(value: &Option<Value>, width: usize) -> String {
    let text = value.as_ref().map_or("-".to_owned(), |value| printable(&value_text(value)));
    let length = text.chars().count();
    if columns(&text) <= width {
        return text;
    }
    let end: String = text.chars().skip(length.saturating_sub(width - 1)).collect();
    format!("…{end}")
}
