//! The quality of predictions: figures with intervals, the confusion matrix, precision and recall,
//! reliability, and the effect of another threshold.

use crate::report::charts::interval::interval;
use crate::report::charts::lines::{Lines, Mark, Series, bands, lines};
use crate::report::charts::reliability::reliability;
use crate::report::charts::scatter::scatter;
use crate::report::charts::{Caption, Figures, Ids};
use crate::report::data::{Evaluation, Figure, PrecisionRecall, ThresholdCurve, ThresholdPoint};
use crate::report::html::{Html, Tag, tag};
use crate::report::sections::per_label::per_label;
use crate::report::sections::{figure_words, notes, paragraph, scrolling};
use crate::text::figures::{figure, grouped};

/// With more labels than this, the confusion matrix is not shown.
const MOST_LABELS: usize = 24;

/// Figures that are not drawn on the scale from 0 to 1: they leave it, or lower is better.
const NO_SCALE: [&str; 9] = [
    "matthews_correlation",
    "log_loss",
    "brier_score",
    "calibration_error",
    "hamming_loss",
    "pearson",
    "spearman",
    "rmse",
    "mae",
];

/// The number of precision-recall curves in one chart, at most.
const MOST_CURVES: usize = 6;

pub fn evaluation(ids: &mut Ids, found: &Evaluation) -> Html {
    let mut all = Html::new();
    let rows = match found.rows == found.labelled {
        true => format!("{} rows", grouped(found.rows)),
        false => {
            format!("{} rows, {} with a true label", grouped(found.rows), grouped(found.labelled))
        }
    };
    let headline = match &found.positive {
        Some(label) if found.headline == "macro_f1" => {
            format!("; macro averages, and precision, recall and F1 of {label} against the rest")
        }
        Some(label) => format!("; precision, recall and F1 of {label}"),
        None => match found.other.as_ref().map(|other| other.task) {
            Some("regression") => String::new(),
            Some(_) => "; accuracy counts rows whose labels are all right".to_owned(),
            None => "; macro averages are means over the labels".to_owned(),
        },
    };
    all.push(paragraph("quiet", &format!("{rows}{headline}")));
    all.push(notes(&found.notes));
    let mut cards = Html::new();
    cards.push(figures(found));
    match &found.other {
        None => cards.push(matrix(found)),
        Some(other) => cards.push(per_label(&found.artifact, &other.per_label)),
    }
    all.push(tag("div").class("pair").child(cards));
    let mut charts = Html::new();
    let pairs = found.other.as_ref().map_or(&[][..], |other| &other.scatter);
    if !pairs.is_empty() {
        let correlation = found.figures.iter().find(|it| it.name == "pearson").map(|it| it.value);
        charts.push(scatter(ids, pairs, correlation));
    }
    charts.push(precision_recall(ids, &found.precision_recall));
    if let (Some(threshold), Some(positive)) = (&found.decision.threshold, &found.positive) {
        charts.push(effect(ids, threshold, positive));
    }
    if !found.decision.reliability.is_empty() {
        let named = |it: &&Figure| it.name == "calibration_error";
        let error = found.figures.iter().find(named).map(|it| it.value);
        charts.push(reliability(ids, &found.decision.reliability, error));
    }
    if !charts.is_empty() {
        all.push(tag("div").class("charts").child(charts));
    }
    all
}

fn figures(found: &Evaluation) -> Html {
    let percent = found.confidence.map(|share| format!("{:.0} % interval", share * 100.0));
    let head = ["figure", "value", percent.as_deref().unwrap_or("interval"), "0 – 1"];
    let head = head.iter().zip(0..).map(|(name, index)| {
        let class = ["", "number", "", "drawn"][index];
        tag("th").attr("scope", "col").class(class).text(name)
    });
    let row = |it: &Figure| {
        let ends = it.interval.map(|[low, high]| format!("{low:.3} to {high:.3}"));
        let drawn = match NO_SCALE.contains(&it.name) {
            true => Html::new(),
            false => interval(it.value, it.interval),
        };
        let shows = it.detectable.filter(|least| *least > 0.0).map(|least| {
            [Html::from(tag("br")), Html::text(format!("shows ± {least:.3}"))]
                .into_iter()
                .collect::<Html>()
        });
        tag("tr")
            .child(tag("th").attr("scope", "row").text(figure_words(it.name)))
            .child(tag("td").class("number").text(format!("{:.3}", it.value)))
            .child(tag("td").class("quiet").text(ends.unwrap_or_default()).children(shows))
            .child(tag("td").class("drawn").child(drawn))
    };
    let table = tag("table")
        .class("figures")
        .child(tag("thead").child(tag("tr").children(head)))
        .child(tag("tbody").children(found.figures.iter().map(row)));
    let name = format!("Figures of {}", found.artifact);
    let words = "“shows” is the smallest difference between two models that these rows find four times out \
                 of five; on the same rows, a paired comparison finds less.";
    let is_known = found.figures.iter().any(|it| it.detectable.is_some());
    tag("div")
        .class("card")
        .child(tag("h4").text("Figures"))
        .child(scrolling(&name, table))
        .maybe(is_known.then(|| paragraph("quiet", words)))
        .into()
}

/// The confusion matrix, with darker cells for larger shares of the true label.
fn matrix(found: &Evaluation) -> Html {
    let card = tag("div").class("card").child(tag("h4").text("Confusion matrix"));
    if found.labels.len() > MOST_LABELS {
        let words = format!("With {} labels the matrix is too large to read.", found.labels.len());
        return card.child(paragraph("note", &words)).into();
    }
    let sums: Vec<u64> = found.matrix.iter().map(|row| row.iter().sum()).collect();
    let all: u64 = sums.iter().sum();
    let cell = |gold: usize, count: u64, said: usize| -> Tag {
        let share = count as f64 / sums[gold].max(1) as f64;
        let shade = if count == 0 { 0 } else { 1 + (share * 8.0).round() as usize };
        let right = if gold == said { "right" } else { "wrong" };
        tag("td")
            .class(&format!("cell {right} h{shade}"))
            .child(tag("b").text(grouped(count)))
            .child(tag("span").text(format!("{:.0} %", share * 100.0)))
    };
    let head = found.labels.iter().map(|label| tag("th").attr("scope", "col").text(label));
    let row = |(gold, counts): (usize, &Vec<u64>)| {
        let cells = counts.iter().enumerate().map(|(said, count)| cell(gold, *count, said));
        tag("tr")
            .child(tag("th").attr("scope", "row").text(&found.labels[gold]))
            .children(cells)
            .child(tag("td").class("number quiet").text(grouped(sums[gold])))
    };
    let said: Vec<u64> =
        (0..sums.len()).map(|said| found.matrix.iter().map(|row| row[said]).sum()).collect();
    let totals = said.iter().chain([&all]);
    let totals = totals.map(|sum| tag("td").class("number quiet").text(grouped(*sum)));
    let corner = tag("td").class("corner").text("true ↓ predicted →");
    let table =
        tag("table")
            .class("matrix")
            .child(
                tag("thead").child(
                    tag("tr")
                        .child(corner)
                        .children(head)
                        .child(tag("th").attr("scope", "col").text("all")),
                ),
            )
            .child(tag("tbody").children(found.matrix.iter().enumerate().map(row)).child(
                tag("tr").child(tag("th").attr("scope", "row").text("all")).children(totals),
            ));
    card.child(scrolling(&format!("Confusion matrix of {}", found.artifact), table))
        .child(paragraph("quiet", "Percentages are shares of the rows with the true label."))
        .into()
}

fn precision_recall(ids: &mut Ids, curves: &[PrecisionRecall]) -> Html {
    if curves.is_empty() {
        return Html::new();
    }
    let shown = &curves[..curves.len().min(MOST_CURVES)];
    let series = shown.iter().map(|curve| {
        let first = curve.points.first().map(|(_, precision)| (0.0, *precision));
        let points = first.into_iter().chain(curve.points.iter().copied()).collect();
        Series { name: format!("{} {}", curve.label, figure(curve.average_precision)), points }
    });
    let precision_at = |curve: &PrecisionRecall, recall: f64| {
        let reached = curve.points.iter().filter(|(it, _)| *it >= recall);
        reached.map(|(_, precision)| *precision).fold(0.0, f64::max)
    };
    let said = |recall: f64| {
        let texts = shown
            .iter()
            .map(|curve| format!("{} {}", curve.label, figure(precision_at(curve, recall))));
        Some(format!("recall {recall:.3}: precision {}", texts.collect::<Vec<_>>().join(", ")))
    };
    let levels: Vec<f64> = (0..=10).map(|it| f64::from(it) / 10.0).collect();
    let head = shown.iter().map(|curve| format!("{}: precision", curve.label));
    let rows = levels.iter().map(|recall| {
        let values = shown.iter().map(|curve| figure(precision_at(curve, *recall)));
        [format!("{recall:.1} or more")].into_iter().chain(values).collect()
    });
    let averages = shown.iter().map(|curve| {
        format!("{} has an average precision of {}", curve.label, figure(curve.average_precision))
    });
    let marks = match shown {
        [one] => vec![Mark::AtY(one.share, format!("guessing {}", figure(one.share)))],
        _ => Vec::new(),
    };
    let title = match shown {
        [one] => format!("Precision and recall of {}", one.label),
        _ => "Precision and recall, each label against the rest".to_owned(),
    };
    let chart = Lines {
        caption: Caption {
            title,
            description: format!("{}.", averages.collect::<Vec<_>>().join("; ")),
        },
        x_name: "recall".to_owned(),
        y_name: "precision".to_owned(),
        x_range: Some((0.0, 1.0)),
        y_range: Some((0.0, 1.0)),
        series: series.collect(),
        marks,
        bands: bands(0.0, 1.0, 20, said),
        figures: Figures {
            head: ["recall".to_owned()].into_iter().chain(head).collect(),
            rows: rows.collect(),
        },
    };
    lines(ids, chart)
}

fn effect(ids: &mut Ids, found: &ThresholdCurve, positive: &str) -> Html {
    let points = &found.points;
    let low = points.first().map_or(0.0, |point| point.threshold);
    let high = points.last().map_or(1.0, |point| point.threshold);
    let column = |name: &str, value: fn(&ThresholdPoint) -> Option<f64>| Series {
        name: name.to_owned(),
        points: points.iter().filter_map(|it| Some((it.threshold, value(it)?))).collect(),
    };
    let precision = |point: &ThresholdPoint| point.precision.map_or("–".to_owned(), figure);
    let nearest = |threshold: f64| {
        let far = |it: f64| (it - threshold).abs();
        points.iter().min_by(|one, two| far(one.threshold).total_cmp(&far(two.threshold)))
    };
    let said = |threshold: f64| {
        let point = nearest(threshold)?;
        Some(format!(
            "threshold {:.3}: precision {}, recall {}, F1 {}",
            point.threshold,
            precision(point),
            figure(point.recall),
            figure(point.f1)
        ))
    };
    let (best, f1) = found.best;
    let used = found.used.map(|used| Mark::AtX(used, format!("used {used:.2}")));
    let description = format!(
        "Precision, recall and F1 of {positive} if it is predicted from a higher or a lower \
         probability on. On these rows F1 is best at {best:.3}, with {}; on other rows a threshold \
         chosen so gives less.",
        figure(f1)
    );
    let rows = points.iter().step_by(10).map(|point| {
        let values = [precision(point), figure(point.recall), figure(point.f1)];
        [format!("{:.3}", point.threshold)].into_iter().chain(values).collect()
    });
    let chart = Lines {
        caption: Caption { title: "The effect of the threshold".to_owned(), description },
        x_name: format!("threshold on the probability of {positive}"),
        y_name: String::new(),
        x_range: Some((low, high)),
        y_range: Some((0.0, 1.0)),
        series: vec![
            column("precision", |it| it.precision),
            column("recall", |it| Some(it.recall)),
            column("F1", |it| Some(it.f1)),
        ],
        marks: used.into_iter().collect(),
        bands: bands(low, high, 25, said),
        figures: Figures {
            head: ["threshold", "precision", "recall", "F1"].map(str::to_owned).to_vec(),
            rows: rows.collect(),
        },
    };
    lines(ids, chart)
}
