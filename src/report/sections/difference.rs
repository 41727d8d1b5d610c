//! Two runs compared: the fields of the keys that differ, the metrics that changed, and the labelled
//! examples that became right or wrong, with McNemar's test.

use stages::builtin::score::paired_comparison::PairedComparison;

use crate::report::data::Difference;
use crate::report::html::{Html, tag};
use crate::report::sections::examples::examples;
use crate::report::sections::overview::code;
use crate::report::sections::{figure_words, paragraph, scrolling};
use crate::results::run_diff::{MetricChange, StageDiff};
use crate::text::figures::{figure, grouped};

pub fn difference(found: &Difference) -> Html {
    let mut all =
        Html::from(paragraph("quiet", &format!("From {} to {}.", found.diff.from, found.diff.to)));
    let stages = || found.diff.stages.iter();
    let in_both = |it: &&StageDiff| it.from.is_some() && it.to.is_some();
    let differing: Html = stages().filter(in_both).filter(|it| !it.is_same()).map(stage).collect();
    if differing.is_empty() {
        all.push(paragraph("note", "Nothing differs in the stages that both runs have."));
    }
    all.push(differing);
    for flips in &found.flips {
        all.push(
            tag("h3").text(format!("Examples of {} that became right or wrong", flips.artifact)),
        );
        all.push(tag("h4").text("Became right"));
        all.push(examples(&flips.became_right, "right now and was wrong"));
        all.push(tag("h4").text("Became wrong"));
        all.push(examples(&flips.became_wrong, "wrong now and was right"));
    }
    type Which = fn(&StageDiff) -> bool;
    let others: [(&str, Which); 3] = [
        ("Only in the first run", |it| it.to.is_none()),
        ("Only in the second run", |it| it.from.is_none()),
        ("The same in both", |it| it.from.is_some() && it.to.is_some() && it.is_same()),
    ];
    for (words, which) in others {
        let meant = stages().filter(|it| which(it)).map(|it| it.stage.as_str());
        let meant: Vec<&str> = meant.collect();
        if !meant.is_empty() {
            all.push(paragraph("quiet", &format!("{words}: {}.", meant.join(", "))));
        }
    }
    all
}

fn stage(diff: &StageDiff) -> Html {
    let mut all = Html::from(tag("h3").child(code(&diff.stage)));
    if diff.changes_unknown {
        let words =
            "Its key differs, but a record is no longer in the cache, so the fields are unknown.";
        all.push(paragraph("note", words));
    }
    if !diff.changes.is_empty() {
        let changes = diff.changes.iter().map(|change| tag("li").text(change));
        all.push(tag("ul").class("changes").children(changes));
    }
    if !diff.metrics.is_empty() {
        all.push(metrics(&diff.metrics, &diff.stage));
    }
    for (output, compared) in &diff.predictions {
        all.push(predictions(output, compared));
    }
    all
}

fn metrics(changes: &[MetricChange], stage: &str) -> Html {
    let number = |text: String| tag("td").class("number").text(text);
    let side = |value: Option<f64>| value.map_or("–".to_owned(), figure);
    let head = ["figure", "from", "to", "difference"].iter().zip(0..);
    let head = head.map(|(name, index)| {
        tag("th").attr("scope", "col").class(if index > 0 { "number" } else { "" }).text(name)
    });
    let row = |change: &MetricChange| {
        tag("tr")
            .child(tag("th").attr("scope", "row").text(figure_words(&change.name)))
            .child(number(side(change.from)))
            .child(number(side(change.to)))
            .child(number(change.delta.map(signed).unwrap_or_default()))
    };
    let table = tag("table")
        .class("sortable")
        .child(tag("thead").child(tag("tr").children(head)))
        .child(tag("tbody").children(changes.iter().map(row)));
    let shown = scrolling(&format!("Figures of {stage}"), table);
    // If one metric differs, many do; a long list is collapsed.
    const MANY: usize = 14;
    match changes.len() > MANY {
        true => tag("details")
            .class("more")
            .child(tag("summary").text(format!("{} metrics differ", changes.len())))
            .child(shown)
            .into(),
        false => shown.into(),
    }
}

fn predictions(output: &str, compared: &PairedComparison) -> Html {
    let rows = grouped(compared.rows);
    let (right, wrong) = (grouped(compared.only_this_right), grouped(compared.only_other_right));
    let p = compared.mcnemar.mid_p;
    let words = if p < 0.05 { "more than chance explains" } else { "chance may explain it" };
    let head = format!(
        "{output}: of {rows} rows {right} became right and {wrong} became wrong; McNemar's test \
         gives p {}, {words}.",
        figure(p)
    );
    let of = compared.headlines().map(|(name, it)| {
        let name = match &compared.positive {
            Some(label) if name == "f1" => format!("F1 of {label}"),
            _ => figure_words(name),
        };
        let interval = it.interval.map(|[low, high]| {
            let percent = compared.confidence * 100.0;
            format!(" ({percent:.0} % interval {} to {})", signed(low), signed(high))
        });
        let (from, to) = (figure(it.other), figure(it.this));
        let interval = interval.unwrap_or_default();
        tag("li").text(format!("{name} {from} → {to}, {}{interval}", signed(it.difference)))
    });
    [paragraph("finding", &head), tag("ul").class("changes").children(of)].into_iter().collect()
}

fn signed(delta: f64) -> String {
    let sign = if delta < 0.0 { "−" } else { "+" };
    format!("{sign}{}", figure(delta.abs()))
}
