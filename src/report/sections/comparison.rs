//! Runs or combinations side by side: a sortable table, and parallel coordinates.

use crate::report::charts::lines::{Lines, Mark, Series, lines};
use crate::report::charts::parallel::{cell, parallel};
use crate::report::charts::{Caption, Figures, Ids};
use crate::report::data::{ComparedRow, ComparisonTable, Means, MeansRow, RunState};
use crate::report::html::{Html, Tag, tag};
use crate::report::sections::overview::state_words;
use crate::report::sections::{badge, paragraph, scrolling};
use crate::results::sweep::curve::LearningCurve;
use crate::results::sweep::table::Mean;
use crate::text::figures::{figure, four, seconds};
use crate::text::values::value_text;

pub fn comparison(ids: &mut Ids, compared: &ComparisonTable) -> Html {
    let mut all = Html::from(paragraph("quiet", &lead(compared)));
    all.push(scrolling("Comparison", table(compared)));
    if let Some(means) = &compared.means {
        let over = means.over.join(", ");
        let words = format!("Mean ± standard deviation over {over}, for the rows that are done.");
        all.push(paragraph("quiet", &words));
        all.push(scrolling("Means", means_table(means)));
    }
    all.push(parallel(ids, compared));
    if let Some(curve) = &compared.learning_curve {
        all.push(tag("h3").text("Learning curve"));
        all.push(paragraph("quiet", &format!("{curve}.")));
        all.push(tag("div").class("charts").child(learning_curve(ids, curve)));
    }
    all
}

/// The measured points and the fitted curve, up to twice the data.
fn learning_curve(ids: &mut Ids, curve: &LearningCurve) -> Html {
    const STEPS: i32 = 60;
    let ends = (curve.points.first(), curve.points.last());
    let (Some((from, _)), Some((all, _))) = ends else { return Html::new() };
    let to = 2.0 * all;
    let fitted = (0..=STEPS).map(|step| {
        let share = from + (to - from) * f64::from(step) / f64::from(STEPS);
        (share, curve.at(share))
    });
    let series = vec![
        Series { name: "measured".to_owned(), points: curve.points.clone() },
        Series { name: "fitted".to_owned(), points: fitted.collect() },
    ];
    let metric = curve.metric.as_str();
    let row =
        |(share, value): &(f64, f64)| vec![figure(*share), four(*value), four(curve.at(*share))];
    let doubled = vec![figure(to), "–".to_owned(), four(curve.doubled)];
    let rows = curve.points.iter().map(row).chain([doubled]);
    let description =
        format!("{metric} by the share of the training data, measured and fitted. {curve}.");
    let chart = Lines {
        caption: Caption { title: format!("{metric} by share"), description },
        x_name: "share of the training data".to_owned(),
        y_name: String::new(),
        x_range: None,
        y_range: None,
        series,
        marks: vec![Mark::AtX(*all, "all data".to_owned())],
        bands: Vec::new(),
        figures: Figures {
            head: ["share", "measured", "fitted"].map(str::to_owned).to_vec(),
            rows: rows.collect(),
        },
    };
    lines(ids, chart)
}

fn lead(compared: &ComparisonTable) -> String {
    let settings = compared.columns.iter().filter(|column| !column.metric).count();
    let what = match (compared.sweep, settings) {
        (true, _) => "The combinations with the figures that differ",
        (false, 0) => "No parameter differs; these figures do",
        (false, _) => "The differences between the runs",
    };
    match compared.by {
        Some(by) => format!("{what}; the best {} is marked.", compared.columns[by].last_name()),
        None => format!("{what}."),
    }
}

fn table(compared: &ComparisonTable) -> Tag {
    let first = if compared.sweep { "#" } else { "run" };
    let plain = |name: &str, class: &str| tag("th").attr("scope", "col").class(class).text(name);
    let mut head = vec![plain(first, "first"), plain("state", "")];
    let is_number = |index: usize| {
        let mut values = compared.rows.iter().filter_map(|row| row.values[index].as_ref());
        values.all(serde_json::Value::is_number)
    };
    let named = compared.columns.iter().enumerate();
    head.extend(named.map(|(index, column)| {
        let class = if column.metric { "metric" } else { "" };
        let class = if is_number(index) { format!("{class} number") } else { class.to_owned() };
        tag("th").attr("scope", "col").class(&class).child(small_stage(&column.name))
    }));
    head.push(plain("time", "number"));
    let best = best(compared);
    let row = |(place, row): (usize, &ComparedRow)| {
        let (words, class) = match (row.state, compared.sweep) {
            (RunState::Interrupted, true) => ("unfinished", "skipped"),
            (state, _) => state_words(state),
        };
        let mut cells = vec![
            tag("th").attr("scope", "row").class("first").text(&row.name),
            tag("td").child(badge(words, class)),
        ];
        for (index, (column, value)) in compared.columns.iter().zip(&row.values).enumerate() {
            let marked = best == Some(place) && compared.by == Some(index);
            let class = match (is_number(index), marked) {
                (true, true) => "number best",
                (true, false) => "number",
                _ => "words",
            };
            let sort = value.as_ref().map(|it| it.as_str().map_or(it.to_string(), str::to_owned));
            let text = value.as_ref().map_or("–".to_owned(), |it| cell(column, it));
            let td = tag("td").class(class).attr("data-sort", sort.unwrap_or_default());
            cells.push(td.text(text));
        }
        let time = tag("td").class("number").attr("data-sort", row.seconds);
        cells.push(time.text(seconds(row.seconds)));
        tag("tr").attr("data-row", place).children(cells)
    };
    tag("table")
        .class("sortable compared")
        .child(tag("thead").child(tag("tr").children(head)))
        .child(tag("tbody").children(compared.rows.iter().enumerate().map(row)))
}

fn means_table(means: &Means) -> Tag {
    let head = |names: &[String], class: &str| -> Vec<Tag> {
        let cell =
            |name: &String| tag("th").attr("scope", "col").class(class).child(small_stage(name));
        names.iter().map(cell).collect()
    };
    let runs = tag("th").attr("scope", "col").class("number").text("runs");
    let row = |row: &MeansRow| {
        let values = row.values.iter().map(|value| {
            let text = value.as_ref().map_or("–".to_owned(), value_text);
            tag("td").class("words").text(text)
        });
        let figures = row.figures.iter().map(|found| {
            let text = match found {
                None => "–".to_owned(),
                Some(Mean { mean, deviation: None }) => format!("{mean:.4}"),
                Some(Mean { mean, deviation: Some(deviation) }) => {
                    format!("{mean:.4} ± {deviation:.4}")
                }
            };
            let sort = found.map_or(String::new(), |it| it.mean.to_string());
            tag("td").class("number").attr("data-sort", sort).text(text)
        });
        let runs = tag("td").class("number").attr("data-sort", row.runs).text(row.runs);
        tag("tr").children(values).child(runs).children(figures)
    };
    let head = head(&means.settings, "")
        .into_iter()
        .chain([runs])
        .chain(head(&means.metrics, "metric number"));
    tag("table")
        .class("sortable compared")
        .child(tag("thead").child(tag("tr").children(head)))
        .child(tag("tbody").children(means.rows.iter().map(row)))
}

/// Names with the part before the last dot small and above the rest.
fn small_stage(names: &str) -> Html {
    let mut all = Html::new();
    for (index, name) in names.split(", ").enumerate() {
        if index > 0 {
            all.push(Html::literal(" "));
        }
        let (stage, name) = name.rsplit_once('.').unwrap_or(("", name));
        let dotted = if stage.is_empty() { String::new() } else { format!("{stage}.") };
        all.push(tag("small").text(dotted));
        all.push(tag("span").text(name));
    }
    all
}

fn best(compared: &ComparisonTable) -> Option<usize> {
    let by = compared.by?;
    let sign = if compared.ascending { -1.0 } else { 1.0 };
    let rows = compared.rows.iter().enumerate().filter(|(_, row)| row.state == RunState::Done);
    let values = rows.filter_map(|(place, row)| Some((place, row.values[by].as_ref()?.as_f64()?)));
    let best = values.rev().max_by(|one, two| (sign * one.1).total_cmp(&(sign * two.1)));
    best.map(|(place, _)| place)
}
