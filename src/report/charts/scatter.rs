//! A scatter plot of true and predicted numbers. On the diagonal they agree.

use crate::report::charts::{
    Caption, Drawing, Figures, HEIGHT, Ids, Plot, WIDTH, circle, framed, line, told,
};
use crate::report::html::Html;
use crate::text::figures::figure;

/// More rows are not listed below the plot.
const MOST_LISTED: usize = 50;

/// Draws pairs of a true and a predicted number.
pub fn scatter(ids: &mut Ids, pairs: &[(f64, f64)], correlation: Option<f64>) -> Html {
    let all = || pairs.iter().flat_map(|(gold, predicted)| [*gold, *predicted]);
    let (low, high) =
        (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    // The same range on both axes, so that the diagonal is where the numbers agree.
    let plot = Plot::around((low, high), (low, high));
    let (from, to) = (plot.x.low.max(plot.y.low), plot.x.high.min(plot.y.high));
    let mut marks = plot.axes("true", "predicted");
    let diagonal = line((plot.x.at(from), plot.y.at(from)), (plot.x.at(to), plot.y.at(to)));
    marks.push(diagonal.class("mark"));
    for (gold, predicted) in pairs {
        let point = circle((plot.x.at(*gold), plot.y.at(*predicted)), 3.0).class("point");
        let words = format!("true {}, predicted {}", figure(*gold), figure(*predicted));
        marks.push(told(&words, point));
    }
    let description = match correlation {
        Some(found) => format!(
            "Predicted numbers by true numbers; on the diagonal they agree. Their correlation is {}.",
            figure(found)
        ),
        None => "Predicted numbers by true numbers; on the diagonal they agree.".to_owned(),
    };
    let caption = Caption { title: "True and predicted numbers".to_owned(), description };
    let drawing = Drawing { width: WIDTH, height: HEIGHT, marks, classes: "" };
    let rows = pairs.iter().take(MOST_LISTED);
    let rows = rows.map(|(gold, predicted)| vec![figure(*gold), figure(*predicted)]);
    let head = ["true", "predicted"].map(str::to_owned).to_vec();
    framed(ids, &caption, Html::new(), drawing, Figures { head, rows: rows.collect() })
}
