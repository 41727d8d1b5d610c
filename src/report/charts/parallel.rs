//! Parallel coordinates: an axis for each parameter and metric, a line for each run. Following the
//! lines shows which values go with good metrics.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::report::charts::{
    Caption, Drawing, Figures, Ids, apart, framed, label, line, path_through, told,
};
use crate::report::data::{Column, ComparisonTable, RunState};
use crate::report::html::{Html, tag};
use crate::text::figures::figure;
use crate::text::terminal::{fit, printable};
use crate::text::values::value_text;

const TOP: f64 = 52.0;
const BOTTOM: f64 = 268.0;
const LEFT: f64 = 70.0;
const ACROSS: f64 = 132.0;

/// The number of axes, at most; nobody can follow more.
const MOST_AXES: usize = 8;

/// The number of shades that show how good a line is.
const SHADES: usize = 5;

/// If all numbers are positive and span at least this ratio, the axis is logarithmic.
const WORTH_LOG: f64 = 20.0;

/// The values of one column on its axis.
struct Axis {
    name: String,
    /// The height of each row; `None` without a value.
    places: Vec<Option<f64>>,
    /// The labelled heights.
    ticks: Vec<(f64, String)>,
}

/// Draws the chart; empty if there is nothing to compare.
pub fn parallel(ids: &mut Ids, compared: &ComparisonTable) -> Html {
    let axes = axes(compared);
    if axes.len() < 2 {
        return Html::new();
    }
    let x = |index: usize| LEFT + index as f64 * ACROSS;
    let mut marks = Html::new();
    for (index, axis) in axes.iter().enumerate() {
        marks.push(line((x(index), TOP), (x(index), BOTTOM)).class("axis"));
        let (stage, name) = axis.name.rsplit_once('.').unwrap_or(("", &axis.name));
        marks.push(label(x(index), 18.0, &fit(&printable(name), 20)).class("title middle"));
        marks.push(label(x(index), 34.0, &fit(&printable(stage), 20)).class("name middle"));
    }
    let shades = shades(compared);
    for row in order(&shades) {
        let place = |(index, axis): (usize, &Axis)| axis.places[row].map(|y| (x(index), y));
        let places: Vec<Option<(f64, f64)>> = axes.iter().enumerate().map(place).collect();
        // A missing value interrupts the line.
        let parts = places.split(Option::is_none).map(|part| part.iter().flatten().copied());
        let path: String = parts.map(path_through).collect();
        let shape = tag("path").class("under").attr("d", &path);
        let drawn = tag("path").class(&format!("run q{}", shades[row])).attr("d", path);
        let both: Html = [shape, drawn].into_iter().collect();
        marks.push(told(&words(compared, row), both).attr("data-row", row));
    }
    // Numbers are drawn over the lines, so that they can be read.
    for (index, axis) in axes.iter().enumerate() {
        for (y, text) in &axis.ticks {
            marks.push(line((x(index) - 4.0, *y), (x(index), *y)).class("axis"));
            let text = fit(&printable(text), 14);
            marks.push(label(x(index) - 8.0, y + 3.5, &text).class("tick end halo"));
        }
    }
    let what = if compared.sweep { "combination" } else { "run" };
    let by = compared.by.map(|by| compared.columns[by].last_name());
    let description = match by {
        Some(by) => format!("A line for each {what}; the darker, the better its {by}."),
        None => format!("A line for each {what}."),
    };
    let caption = Caption { title: "Parallel coordinates".to_owned(), description };
    let width = x(axes.len() - 1) + 40.0;
    let drawing = Drawing { width, height: BOTTOM + 14.0, marks, classes: "wide parallel" };
    framed(ids, &caption, Html::new(), drawing, figures(compared))
}

/// Settings first, then metrics, the one to rank by last.
fn axes(compared: &ComparisonTable) -> Vec<Axis> {
    let columns = || compared.columns.iter().enumerate();
    let is_by = |index: usize| compared.by == Some(index);
    let settings = columns().filter(|(_, column)| !column.metric).take(MOST_AXES - 2);
    let mut chosen: Vec<usize> = settings.map(|(index, _)| index).collect();
    let room = MOST_AXES - 1 - chosen.len();
    let others = columns().filter(|(index, column)| column.metric && !is_by(*index));
    chosen.extend(others.take(room.min(3)).map(|(index, _)| index));
    chosen.extend(compared.by);
    let axes = chosen.into_iter().map(|index| axis(&compared.columns[index], index, compared));
    axes.filter(|axis| axis.places.iter().any(Option::is_some)).collect()
}

fn axis(column: &Column, index: usize, compared: &ComparisonTable) -> Axis {
    let values: Vec<Option<&Value>> =
        compared.rows.iter().map(|row| row.values[index].as_ref()).collect();
    let name = column.last_name().to_owned();
    let numbers: Option<Vec<f64>> = values.iter().flatten().map(|value| value.as_f64()).collect();
    let (places, ticks) = match numbers.filter(|numbers| !numbers.is_empty()) {
        Some(numbers) => numeric(&values, &numbers, column.metric),
        None => by_name(&values),
    };
    Axis { name, places, ticks }
}

type Placed = (Vec<Option<f64>>, Vec<(f64, String)>);

fn numeric(values: &[Option<&Value>], numbers: &[f64], metric: bool) -> Placed {
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let logarithmic = !metric && low > 0.0 && high / low >= WORTH_LOG;
    let along = |value: f64| if logarithmic { value.ln() } else { value };
    let at = |value: f64| match low < high {
        true => BOTTOM - (along(value) - along(low)) / (along(high) - along(low)) * (BOTTOM - TOP),
        false => (TOP + BOTTOM) / 2.0,
    };
    let places = values.iter().map(|value| value.and_then(Value::as_f64).map(at)).collect();
    let known = values.iter().flatten().filter_map(|it| Some((it.as_f64()?, value_text(it))));
    let mut distinct: Vec<(f64, String)> = known.collect();
    distinct.sort_by(|one, two| one.0.total_cmp(&two.0));
    distinct.dedup_by(|one, two| one.0 == two.0);
    // If a setting has few values, all are labelled; else the ends and the middle.
    let middle = if logarithmic { (low * high).sqrt() } else { (low + high) / 2.0 };
    let mut shown: Vec<(f64, String)> = match metric || distinct.len() > 6 {
        true => {
            let three = [low, middle, high];
            let mut texts = three.map(figure).to_vec();
            if low < high && (texts[0] == texts[1] || texts[1] == texts[2]) {
                texts = apart(&three, (high - low) / 2.0);
            }
            three.into_iter().map(at).zip(texts).collect()
        }
        false => distinct.into_iter().map(|(value, text)| (at(value), text)).collect(),
    };
    shown.dedup_by(|one, two| (one.0 - two.0).abs() < 11.0);
    (places, shown)
}

fn by_name(values: &[Option<&Value>]) -> Placed {
    let names: BTreeSet<String> = values.iter().flatten().map(|value| value_text(value)).collect();
    let names: Vec<String> = names.into_iter().collect();
    let at = |index: usize| match names.len() {
        1 => (TOP + BOTTOM) / 2.0,
        count => BOTTOM - index as f64 / (count - 1) as f64 * (BOTTOM - TOP),
    };
    let place = |value: &Value| names.binary_search(&value_text(value)).ok().map(at);
    let places = values.iter().map(|value| value.and_then(place)).collect();
    let mut ticks: Vec<(f64, String)> =
        names.iter().enumerate().map(|(index, name)| (at(index), name.clone())).collect();
    ticks.dedup_by(|one, two| (one.0 - two.0).abs() < 11.0);
    (places, ticks)
}

/// How good each row is, from 1 to [`SHADES`]; 0 for a row without the metric.
fn shades(compared: &ComparisonTable) -> Vec<usize> {
    let Some(by) = compared.by else { return vec![SHADES / 2 + 1; compared.rows.len()] };
    let values: Vec<Option<f64>> = compared
        .rows
        .iter()
        .map(|row| row.values[by].as_ref()?.as_f64().filter(|_| row.state == RunState::Done))
        .collect();
    let low = values.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let shade = |value: f64| {
        let share = if low < high { (value - low) / (high - low) } else { 1.0 };
        let share = if compared.ascending { 1.0 - share } else { share };
        1 + (share * (SHADES - 1) as f64).round() as usize
    };
    values.into_iter().map(|value| value.map_or(0, shade)).collect()
}

/// The best rows last, so that they are drawn on top.
fn order(shades: &[usize]) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..shades.len()).collect();
    rows.sort_by_key(|row| shades[*row]);
    rows
}

fn words(compared: &ComparisonTable, row: usize) -> String {
    let values = &compared.rows[row].values;
    let named = compared.columns.iter().zip(values);
    let texts = named.filter_map(|(column, value)| {
        Some(format!("{} {}", column.last_name(), cell(column, value.as_ref()?)))
    });
    let texts: Vec<String> = texts.collect();
    format!("{}: {}", compared.rows[row].name, texts.join(", "))
}

/// A value as text.
pub fn cell(column: &Column, value: &Value) -> String {
    match value.as_f64().filter(|_| column.metric) {
        // The same number of digits for all, so that they align.
        Some(number) if !column.whole && (0.001..100.0).contains(&number.abs()) => {
            format!("{number:.4}")
        }
        Some(number) => figure(number),
        None => value_text(value),
    }
}

fn figures(compared: &ComparisonTable) -> Figures {
    let names = compared.columns.iter().map(|column| column.name.clone());
    let head = ["".to_owned()].into_iter().chain(names).collect();
    let rows = compared.rows.iter().map(|row| {
        let cells = compared.columns.iter().zip(&row.values);
        let cells =
            cells.map(|(column, value)| value.as_ref().map_or("–".into(), |it| cell(column, it)));
        [row.name.clone()].into_iter().chain(cells).collect()
    });
    Figures { head, rows: rows.collect() }
}
