//! A figure between 0 and 1 with its interval, drawn small enough for a table cell.

use crate::report::charts::{circle, line};
use crate::report::html::{Html, tag};

const WIDTH: f64 = 120.0;
const MARGIN: f64 = 5.0;

/// Draws the figure. The cells beside it have the numbers, so it is hidden from screen readers.
pub fn interval(value: f64, ends: Option<[f64; 2]>) -> Html {
    let x = |value: f64| MARGIN + value.clamp(0.0, 1.0) * (WIDTH - 2.0 * MARGIN);
    let mut marks = Html::from(line((x(0.0), 9.0), (x(1.0), 9.0)).class("rail"));
    for end in [0.0, 0.5, 1.0] {
        marks.push(line((x(end), 6.0), (x(end), 12.0)).class("rail"));
    }
    if let Some([low, high]) = ends {
        marks.push(line((x(low), 9.0), (x(high), 9.0)).class("whisker"));
    }
    marks.push(circle((x(value), 9.0), 3.6).class("point"));
    tag("svg")
        .class("interval")
        .attr("viewBox", format!("0 0 {WIDTH} 18"))
        .attr("width", WIDTH)
        .attr("height", 18)
        .attr("aria-hidden", "true")
        .child(marks)
        .into()
}

/// A value as a bar, relative to the largest.
pub fn bar(share: f64) -> Html {
    let width = (share.clamp(0.0, 1.0) * 80.0).max(1.0);
    tag("svg")
        .class("bar")
        .attr("viewBox", "0 0 80 10")
        .attr("width", 80)
        .attr("height", 10)
        .attr("aria-hidden", "true")
        .child(tag("rect").px("width", width).attr("height", 10).attr("rx", 2))
        .into()
}
